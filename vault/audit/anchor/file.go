// Package anchor keeps the last checkpoint of a tenant's transparency log outside the store: in a file or an object beside the erasure
// ledger, which is in no backup of the store or of the keys, and so is not put back with them. A store that was put back is told by
// it (see vault/audit/translog). Copies go elsewhere, as evidence for others and against who can write beside the ledger, too.
//
// # Format
//
// <tenant>.checkpoint is the checkpoint as it was signed (c2sp.org/tlog-checkpoint), and nothing else. It is replaced whole: written
// aside, synced, renamed, and the folder synced, so that a crash leaves the one or the other. In a bucket it is an object of that
// name; of earlier versions that the bucket keeps none counts.
package anchor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

const (
	suffix     = ".checkpoint"
	folderMode = 0o700
)

// File is the anchor of one tenant in a folder. It is safe for concurrent use; of two that keep at once either is kept.
type File struct{ dir, path string }

// InFolder is the anchor of a tenant in dir, which is made by the first Keep when it is absent (its parent is not).
func InFolder(dir, tenant string) *File { return &File{dir, filepath.Join(dir, tenant+suffix)} }

// Last implements translog.Anchor.
func (f *File) Last(context.Context) ([]byte, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("anchor: %w", err)
	}
	note, err := io.ReadAll(io.LimitReader(file, checkpoint.MaxNote+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("anchor: %w", err)
	}
	return note, nil
}

// Keep implements translog.Anchor.
func (f *File) Keep(_ context.Context, note []byte) error {
	if err := f.keep(note); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	return nil
}

func (f *File) keep(note []byte) error {
	aside, err := os.CreateTemp(f.dir, ".new-*"+suffix) // with mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(f.dir, folderMode); err == nil {
			aside, err = os.CreateTemp(f.dir, ".new-*"+suffix)
		}
	}
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
	return syncFolder(f.dir)
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
