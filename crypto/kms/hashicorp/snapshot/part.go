package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// part is a file on its way: it has another name until it is whole.
type part struct {
	file *os.File // nil once it is kept
	path string   // what it will be called
}

// newPart begins a file of mode 0600 beside path, which nothing may have as its name.
func newPart(path string) (*part, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part") // of mode 0600
	if err != nil {
		return nil, err
	}
	return &part{f, path}, nil
}

func vacant(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keep gives the file its name, whole and durable. It is renamed, not linked: what snapshots are copied to often has no
// links.
func (p *part) keep() error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := vacant(p.path); err != nil {
		return err
	}
	if err := os.Rename(p.file.Name(), p.path); err != nil {
		return err
	}
	err := p.file.Close()
	p.file = nil
	if err == nil {
		err = syncFolder(filepath.Dir(p.path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(p.path))
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// abandon removes a file that was not kept.
func (p *part) abandon() error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Close(), os.Remove(p.file.Name()))
}

// Apart refuses a folder of outer keys that lies in one of the other folders, or in which one of them lies: whoever copied
// the one would have the other. Links are followed. The folder of outer keys may be one that is yet to be made in another;
// of the others, one that is not there holds nothing.
func Apart(outer string, folders ...string) error {
	keys, err := resolve(outer)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = resolve(filepath.Dir(filepath.Clean(outer)))
		keys = filepath.Join(keys, filepath.Base(outer))
	}
	if err != nil {
		return err
	}
	for _, folder := range folders {
		other, err := resolve(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if within(keys, other) || within(other, keys) {
			return fmt.Errorf("the outer keys in %s and the folder %s lie in each other: whoever copies one has both", outer, other)
		}
	}
	return nil
}

func resolve(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// within reports whether a path is a folder or lies in it.
func within(path, folder string) bool {
	rest, err := filepath.Rel(folder, path)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, ".."+string(filepath.Separator))
}
