// Command generate draws the sample data of package sample: the people, the holders of the specimen documents, and the documents. Run it with
//
//	go generate ./deploy/sample
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
	"os"
	"path"
	"path/filepath"

	"github.com/sandyq/sandyq/deploy/sample/person"
)

func main() {
	out := flag.String("out", ".", "the folder to write to; go generate runs in the one of package sample")
	flag.Parse()
	if err := run(*out); err != nil {
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

// seed is any number; another one gives other people.
const seed = 940521

// generate makes all files, in memory.
func generate() ([]file, error) {
	crowd := newCrowd(seed)
	people, err := crowd.people()
	if err != nil {
		return nil, err
	}
	holders, err := crowd.holders()
	if err != nil {
		return nil, err
	}
	holding := make([]person.Person, len(holders))
	for i := range holders {
		holding[i] = holders[i].Person
	}
	var files []file
	for _, table := range []struct {
		name   string
		people []person.Person
	}{{"people.csv", people}, {"holders.csv", holding}} {
		var b bytes.Buffer
		if err := person.WriteCSV(&b, table.people); err != nil {
			return nil, err
		}
		files = append(files, file{table.name, b.Bytes()})
	}
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
