// Package smallfile writes and destroys the small files in which keys lie.
//
// A file appears under its name whole, with its bytes synced: nobody ever reads half of one. The name itself is durable once
// the folder is synced ([SyncDir]), which is the caller's part, so that many files in one folder take one sync.
//
// Destroying overwrites what every name of the file shows before it takes the name away. Flash and copy-on-write disks may
// keep what was overwritten.
package smallfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Create puts data under name, or fails with [fs.ErrExist] when the name is taken: it never replaces, whoever races, for it
// uses link(2). aside is another name in dir that the file has on the way and that nobody else uses; a crash may leave it.
func Create(dir *os.Root, aside, name string, data []byte) (err error) {
	f, err := dir.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		// Whoever destroys the file meanwhile may have removed it already.
		if rm := dir.Remove(aside); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	if err := WriteAndClose(f, data); err != nil {
		return err
	}
	return dir.Link(aside, name)
}

// Replace puts data under name in the place of what was there, with rename(2). The caller keeps others from doing so at
// the same moment; what a crash left at aside is overwritten.
func Replace(dir *os.Root, aside, name string, data []byte) error {
	f, err := dir.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := WriteAndClose(f, data); err != nil {
		return err
	}
	return dir.Rename(aside, name)
}

// WriteAndClose writes data, syncs it and closes f, which it does after an error too.
func WriteAndClose(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Erase overwrites a file with zeros, syncs that, and unlinks it. A file that is not there is erased.
func Erase(dir *os.Root, name string) error {
	f, err := dir.OpenFile(name, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if err := WriteAndClose(f, make([]byte, info.Size())); err != nil {
		return err
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Read reads a file of at most limit bytes; of a larger one it returns limit+1.
func Read(dir *os.Root, name string, limit int) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return b, errors.Join(err, f.Close())
}

// SyncDir makes the names in a folder durable, and their absence.
func SyncDir(dir *os.Root, name string) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
