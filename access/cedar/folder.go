package cedar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// listing is what a folder of policies looked like: its *.cedar files by name, with what tells a change.
type listing []listed

type listed struct {
	name     string
	size     int64
	modified time.Time
	mode     fs.FileMode
}

// list looks at a folder without reading its files. Links are followed: a mounted configuration is made of them.
func list(dir string) (listing, error) {
	entries, err := os.ReadDir(dir) // in the order of names
	if err != nil {
		return nil, err
	}
	var all listing
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".cedar") || strings.HasPrefix(name, ".") {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			all = append(all, listed{name, info.Size(), info.ModTime(), info.Mode()})
		}
	}
	return all, nil
}

// errMoving is a folder that changes while it is read.
var errMoving = errors.New("the files change while they are read")

// read reads the files of a listing, and makes sure that they are still those.
func (l listing) read(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte, len(l))
	for _, one := range l {
		text, err := readFile(filepath.Join(dir, one.name))
		if err != nil {
			return nil, err
		}
		files[one.name] = text
	}
	after, err := list(dir)
	if err != nil {
		return nil, err
	}
	if !l.same(after) {
		return nil, errMoving
	}
	return files, nil
}

// readFile reads no more than tells that a file is too large.
func readFile(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (l listing) same(other listing) bool {
	if len(l) != len(other) {
		return false
	}
	for i, one := range l {
		two := other[i]
		if one.name != two.name || one.size != two.size || one.mode != two.mode || !one.modified.Equal(two.modified) {
			return false
		}
	}
	return true
}

// ReadFolder reads the *.cedar files of a folder, by name, for Compile.
func ReadFolder(dir string) (map[string][]byte, error) {
	found, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	files, err := found.read(dir)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	return files, nil
}
