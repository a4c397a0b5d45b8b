// Package anchor keeps the last checkpoint of a tenant's transparency log outside the store: in a file or an object beside the erasure
// ledger, which is in no backup of the store or of the keys, and so is not put back with them. A store that was put back is told by
// it (see vault/audit/translog). Copies go elsewhere, as evidence for others and against who can write beside the ledger, too.
//
// # Format
//
// <tenant>.checkpoint is the checkpoint as it was signed (c2sp.org/tlog-checkpoint), and nothing else. It is replaced whole: written
// aside, synced, renamed, and the folder synced, so that a crash leaves the one or the other. In a bucket it is an object of that
// name; of earlier versions that the bucket keeps none counts.
//
// # Never back
//
// A checkpoint is kept in the place of the one that its signer has seen there, and of no other: under a lock of the folder, in a bucket
// by its ETag (If-Match). So a node that was paused and leads no more does not put an older checkpoint over a newer one. A server that
// knows no such condition is asked right before what is there. A copy takes nothing of a smaller tree under the same origin.
package anchor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

const (
	suffix     = ".checkpoint"
	folderMode = 0o700
)

// lockLimit is for how long the folder's lock is waited for: one holds it for two syncs.
const (
	lockLimit = 2 * time.Second
	lockEvery = 2 * time.Millisecond
)

// File is the anchor of one tenant in a folder. It is safe for concurrent use, by several processes too: the folder's lock (flock)
// is held from the comparison to the rename.
type File struct{ dir, path string }

// InFolder is the anchor of a tenant in dir, which is made by the first Keep when it is absent (its parent is not).
func InFolder(dir, tenant string) *File { return &File{dir, filepath.Join(dir, tenant+suffix)} }

// Last implements translog.Anchor.
func (f *File) Last(context.Context) ([]byte, error) {
	note, err := f.last()
	if err != nil {
		return nil, fmt.Errorf("anchor: %w", err)
	}
	return note, nil
}

func (f *File) last() ([]byte, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	note, err := io.ReadAll(io.LimitReader(file, checkpoint.MaxNote+1))
	return note, errors.Join(err, file.Close())
}

// Take implements Place.
func (f *File) Take(ctx context.Context, note []byte) error { return take(ctx, f, note) }

// Keep implements translog.Anchor.
func (f *File) Keep(ctx context.Context, was, note []byte) (kept bool, err error) {
	if kept, err = f.keep(ctx, was, note); err != nil {
		return false, fmt.Errorf("anchor: %w", err)
	}
	return kept, nil
}

func (f *File) keep(ctx context.Context, was, note []byte) (kept bool, err error) {
	folder, err := f.lock(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // which lets go of the lock
	now, err := f.last()
	if err != nil || !bytes.Equal(now, was) || (now == nil) != (was == nil) {
		return false, err
	}
	if err := f.replace(note); err != nil {
		return false, err
	}
	return true, folder.Sync()
}

// lock makes the folder, unless it is there, and takes its lock.
func (f *File) lock(ctx context.Context) (*os.File, error) {
	if err := os.Mkdir(f.dir, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	folder, err := os.Open(f.dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	for {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return folder, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock the folder: %w", err), folder.Close())
		}
		select {
		case <-time.After(lockEvery):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock the folder: %w", context.Cause(ctx)), folder.Close())
		}
	}
}

// replace puts a note whole in the place of what is there. The folder is yet to be synced.
func (f *File) replace(note []byte) error {
	aside, err := os.CreateTemp(f.dir, ".new-*"+suffix) // with mode 0600
	if err != nil {
		return err
	}
	_, err = aside.Write(note)
	if err == nil {
		err = aside.Sync()
	}
	if err = errors.Join(err, aside.Close()); err == nil {
		err = os.Rename(aside.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(aside.Name()))
	}
	return nil
}
