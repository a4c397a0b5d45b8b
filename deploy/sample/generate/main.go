// Command generate draws the sample data of package sample: the people, the holders of the specimen documents, and the documents. Run it with
//
//	go generate ./deploy/sample
//
// To have more people than those, as many as wanted, written as people.csv is:
//
//	go run ./deploy/sample/generate -people 1000000 > people.csv
//
// Everything follows from a fixed seed and from the code: two runs write the same bytes, which the test beside this file holds it to. The pictures
// depend on Go's PNG and JPEG encoders too, and on floating point as amd64 computes it.
//
// The fonts come as a module of their own, github.com/go-fonts/dejavu, which nothing but this command links. A nested module would keep it out
// of the product's go.mod at the price of a second set of versions, and of tests that go test ./... does not see.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/sandyq/sandyq/deploy/sample/crowd"
	"github.com/sandyq/sandyq/deploy/sample/person"
)

func main() {
	out := flag.String("out", ".", "the folder to write to; go generate runs in the one of package sample")
	count := flag.Int("people", 0, "write so many people to standard output, as CSV, and nothing else")
	flag.Parse()
	do := func() error { return run(*out) }
	if *count > 0 {
		do = func() error { return drawPeople(os.Stdout, crowd.New(seed), *count) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	files, err := generate()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(out, "specimens"), 0o755); err != nil {
		return err
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(out, filepath.FromSlash(file.name)), file.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// file is something generated; its name is relative to the folder of package sample.
type file struct {
	name    string
	content []byte
}

// seed is any number; another one gives other people. peopleCount is how many people.csv has.
const (
	seed        = 940521
	peopleCount = 1000
)

// drawPeople writes so many people as CSV, as it draws them; those of people.csv come first.
func drawPeople(w io.Writer, from *crowd.Crowd, count int) error {
	rows, err := person.NewWriter(w)
	if err != nil {
		return err
	}
	for range count {
		p, err := from.Next()
		if err != nil {
			return err
		}
		if err := rows.Write(p); err != nil {
			return err
		}
	}
	return rows.Flush()
}

// generate makes all files, in memory.
func generate() ([]file, error) {
	drawn := crowd.New(seed)
	var people bytes.Buffer
	if err := drawPeople(&people, drawn, peopleCount); err != nil {
		return nil, err
	}
	holders, err := drawHolders(drawn)
	if err != nil {
		return nil, err
	}
	holding := make([]person.Person, len(holders))
	for i := range holders {
		holding[i] = holders[i].Person
	}
	var held bytes.Buffer
	if err := person.WriteCSV(&held, holding); err != nil {
		return nil, err
	}
	files := []file{{"people.csv", people.Bytes()}, {"holders.csv", held.Bytes()}}
	faces, err := loadTypefaces()
	if err != nil {
		return nil, err
	}
	for _, scan := range (studio{faces}).scans(holders) {
		content, err := scan.encode(path.Ext(scan.name))
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", scan.name, err)
		}
		files = append(files, file{path.Join("specimens", scan.name), content})
	}
	return files, nil
}
