package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Directory keeps a repository in a folder of this machine.
type Directory struct {
	root    *os.Root
	lock    *os.File        // held by the process that writes; nil for one that reads
	named   int             // counts what was written aside
	touched map[string]bool // folders with names that are not durable yet
}

const (
	partial  = ".partial"
	lockFile = "lock"
)

// OpenDirectory opens a repository's folder to be read.
func OpenDirectory(dir string) (*Directory, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	return &Directory{root: root}, nil
}

// WriteDirectory opens a repository's folder to be written, and makes it if need be. ErrInUse: another process has it so. What
// an earlier process began and did not end is removed.
func WriteDirectory(dir string) (_ *Directory, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the repository: %w", err)
	}
	d, err := OpenDirectory(dir)
	if err != nil {
		return nil, err
	}
	d.touched = map[string]bool{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.lock, err = d.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	if err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	return d, d.sweep()
}

// sweep removes what was written aside by a process that fell.
func (d *Directory) sweep() error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("look into the repository: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partial) {
			if err := d.root.Remove(e.Name()); err != nil {
				return fmt.Errorf("remove what was left unfinished: %w", err)
			}
		}
	}
	return nil
}

// Close lets go of the folder.
func (d *Directory) Close() error {
	var err error
	if d.lock != nil {
		err = d.lock.Close()
	}
	return errors.Join(err, d.root.Close())
}

var errOnlyRead = errors.New("the repository was opened to be read")

// Create implements Objects.
func (d *Directory) Create(context.Context) (Object, error) {
	if d.lock == nil {
		return nil, errOnlyRead
	}
	d.named++
	name := fmt.Sprintf("%d%s", d.named, partial)
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write into the repository: %w", err)
	}
	return &fileObject{d, f, name}, nil
}

// fileObject is a file that has no name of its own yet.
type fileObject struct {
	directory *Directory
	file      *os.File // nil once committed or aborted
	aside     string
}

func (o *fileObject) Write(p []byte) (int, error) { return o.file.Write(p) }

// Commit implements Object.
func (o *fileObject) Commit(name string) error {
	f, d := o.file, o.directory
	o.file = nil
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = d.folder(path.Dir(name))
	}
	if err == nil {
		err = d.root.Rename(o.aside, name)
	}
	if err != nil {
		_ = d.root.Remove(o.aside) // what stays is swept the next time
		return fmt.Errorf("write into the repository: %w", err)
	}
	d.touched[path.Dir(name)] = true
	return nil
}

// folder makes a folder, and those above it, if need be.
func (d *Directory) folder(name string) error {
	if name == "." || d.touched[name] {
		return nil
	}
	if _, err := d.root.Stat(name); err == nil {
		return nil
	}
	above := path.Dir(name)
	if err := d.folder(above); err != nil {
		return err
	}
	if err := d.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d.touched[above] = true
	return nil
}

// Abort implements Object.
func (o *fileObject) Abort() {
	if o.file == nil {
		return
	}
	_ = o.file.Close() // its content is going
	o.file = nil
	_ = o.directory.root.Remove(o.aside) // what stays is swept the next time
}

// Flush implements Objects.
func (d *Directory) Flush(context.Context) error {
	for folder := range d.touched {
		f, err := d.root.Open(folder)
		if errors.Is(err, fs.ErrNotExist) { // nothing was removed from it either
			continue
		}
		if err != nil {
			return fmt.Errorf("sync the repository: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync the repository: %w", err)
		}
	}
	clear(d.touched)
	return nil
}

// Open implements Objects.
func (d *Directory) Open(_ context.Context, name string) (io.ReadCloser, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Remove implements Objects.
func (d *Directory) Remove(_ context.Context, name string) error {
	if d.lock == nil {
		return errOnlyRead
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from the repository: %w", err)
	}
	d.touched[path.Dir(name)] = true
	return nil
}

// List implements Objects.
func (d *Directory) List(ctx context.Context, folder string, f func(name string, size int64) error) error {
	err := fs.WalkDir(d.root.FS(), folder, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return f(name, info.Size())
	})
	if errors.Is(err, fs.ErrNotExist) {
		if _, missing := d.root.Stat(folder); errors.Is(missing, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}
