package local

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/sandyq/sandyq/crypto/smallfile"
)

// writeOnce puts data under name, or fails with fs.ErrExist when name is there. aside is the name that it has in tmp on the
// way.
func writeOnce(dir *os.Root, aside, name string, data []byte) error {
	return smallfile.Create(dir, path.Join(tmpName, aside), name, data)
}

// absent reports whether no file has this name; any other answer than yes or no is an error.
func absent(dir *os.Root, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// ownerOf is the number of the user to whom a file belongs.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
