// Package file keeps an erasure ledger in one file for each tenant, <tenant>.ledger, in a directory of its own: its lines (see
// vault/ledger), each with a line feed.
//
// # What is durable when
//
// An append writes its lines at the end with one write, and returns after one sync. A file comes to be with its header synced, by
// link(2), and the directory is synced after it. When a write or a sync fails, nobody knows what the disk holds: the ledger
// refuses everything from then on (ledger.ErrFailed), and has to be opened again, which reads what is there and syncs it.
//
// # What a crash leaves
//
// Only the lines of the last append can have been cut short, and only when nobody was told of them. Open takes whole lines as
// they are, also those of such an append. Of what follows the last line feed it takes away the beginning of a line (Torn),
// completes a line that lacks nothing but its line feed, and refuses everything else as damage. It cuts
// nothing off before all lines have been verified.
//
// That an acknowledged line was cut in two by somebody looks the same from within. The marks that the store and the
// key side keep tell: the ledger then ends before them.
//
// # Under a living process
//
// The file is locked with flock(2). At every look the path must lead to the same file, of the size that it was left with and
// with the last line that was written. When the times of the file are others than this process left, it is read from the
// beginning.
package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sandyq/sandyq/vault/ledger"
)

const (
	suffix     = ".ledger"
	folderMode = 0o700
	fileMode   = 0o600
)

// Path is where the ledger of a tenant lies in dir.
func Path(dir, tenant string) string { return filepath.Join(dir, tenant+suffix) }

// Create makes the ledger of a tenant in dir, which is made when it is absent (its parent is not), and opens it. It fails with
// ledger.ErrExists when there is one. A Create that was cut short may be repeated; it leaves at most a file .new-….
func Create(ctx context.Context, dir string, o ledger.Options) (*ledger.Book, error) {
	if err := create(ctx, dir, o); err != nil {
		return nil, fmt.Errorf("ledger/file: create: %w", err)
	}
	return Open(ctx, dir, o)
}

func create(ctx context.Context, dir string, o ledger.Options) error {
	if err := makeFolder(dir); err != nil {
		return err
	}
	h := ledger.Header{Tenant: o.Tenant, At: o.Clock()}
	_, _ = rand.Read(h.ID[:]) // never fails (crypto/rand)
	line, err := ledger.SealHeader(ctx, o.Signer, h)
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, fmt.Sprintf(".new-%x", h.ID))
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(aside, Path(dir, o.Tenant))
	}
	if errors.Is(err, fs.ErrExist) {
		err = ledger.ErrExists
	}
	return errors.Join(err, os.Remove(aside), syncFolder(dir))
}

// Open opens the ledger of a tenant in dir and reads all of it. It fails with ledger.ErrMissing when there is none.
func Open(ctx context.Context, dir string, o ledger.Options) (*ledger.Book, error) {
	b, err := open(ctx, dir, o, func(f *os.File) handle { return f })
	if err != nil {
		return nil, fmt.Errorf("ledger/file: open: %w", err)
	}
	return b, nil
}

// open is Open over what wrap makes of the file.
func open(ctx context.Context, dir string, o ledger.Options, wrap func(*os.File) handle) (*ledger.Book, error) {
	path := Path(dir, o.Tenant)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ledger.ErrMissing
	}
	if err != nil {
		return nil, err
	}
	m := &medium{path: path, file: wrap(f)}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := m.index(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := ledger.Open(ctx, m, o)
	if err != nil {
		return nil, err // the book has closed the medium
	}
	if err := errors.Join(m.settle(), syncFolder(dir)); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// lock takes the file for this process, until it is closed.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ledger.ErrInUse
	}
	if err != nil {
		return fmt.Errorf("lock the file: %w", err)
	}
	return nil
}

// makeFolder makes the directory when it is absent, and its entry durable.
func makeFolder(dir string) error {
	if err := os.Mkdir(dir, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(filepath.Clean(dir)))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync a folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync a folder: %w", err)
	}
	return nil
}

// For opens the ledger of a tenant in dir for a use.
func For(ctx context.Context, use ledger.Use, dir string, o ledger.Options) (*ledger.Book, error) {
	if use == ledger.Look {
		return Look(ctx, dir, o)
	}
	b, err := Open(ctx, dir, o)
	if use == ledger.Create && errors.Is(err, ledger.ErrMissing) {
		return Create(ctx, dir, o)
	}
	return b, err
}
