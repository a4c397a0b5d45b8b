package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// writeOnce puts data under name, whole, with its bytes synced, or fails with fs.ErrExist when name is there. The name
// itself is durable once its folder is synced. aside is the name that it has in tmp on the way.
func writeOnce(dir *os.Root, aside, name string, data []byte) (err error) {
	aside = path.Join(tmpName, aside)
	f, err := dir.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		// A Destroy that overtook this call has removed it already.
		if rm := dir.Remove(aside); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	if err := writeAndClose(f, data); err != nil {
		return err
	}
	return dir.Link(aside, name)
}

func writeAndClose(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// erase overwrites a file with zeros, syncs that, and unlinks it. A file that is not there is erased.
func erase(dir *os.Root, name string) error {
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
	if err := writeAndClose(f, make([]byte, info.Size())); err != nil {
		return err
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// absent reports whether no file has this name; any other answer than yes or no is an error.
func absent(dir *os.Root, name string) (bool, error) {
	_, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// readSmall reads a file of limit bytes; of a larger one it returns limit+1.
func readSmall(dir *os.Root, name string, limit int) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return b, errors.Join(err, f.Close())
}

// ownerOf is the number of the user to whom a file belongs.
func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func syncDir(dir *os.Root, name string) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
