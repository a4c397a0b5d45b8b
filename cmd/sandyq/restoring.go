package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/sandyq/sandyq/crypto/smallfile"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// restoring fills folders of a store and of documents from a snapshot, aside from where they are to be: nothing is in its
// place before all of it was read and found to be what was backed up. The store comes to its place last, after the documents are
// durably in theirs, and a home without a store is no vault: so whenever a restore is killed there is a whole vault or none.
type restoring struct {
	snapshot         *backup.Snapshot
	store, documents string // folders
	log              *slog.Logger
	progress         func(bytes int64)
}

const restoringSuffix = ".restoring"

func (r *restoring) aside() (store, documents string) {
	return r.store + restoringSuffix, r.documents + restoringSuffix
}

// vacant refuses places in which there is a store, or documents that no restore left.
func (r *restoring) vacant() error {
	half := r.halfDone()
	for _, dir := range []string{r.store, r.documents} {
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist), half:
		case err != nil:
			return fmt.Errorf("look for a store: %w", err)
		case len(entries) > 0:
			return hinted(fmt.Errorf("%s is not empty: a backup is restored over nothing", dir),
				"move it away, or name another --home; if a restore put it there, go on with sandyq promote")
		}
	}
	return nil
}

// run restores aside, inspects what it restored, and puts it in place. After an error nothing is.
func (r *restoring) run(ctx context.Context) (_ *vault.Census, err error) {
	store, documents := r.aside()
	defer func() { err = errors.Join(err, os.RemoveAll(store), os.RemoveAll(documents)) }()
	if r.halfDone() {
		if err := os.RemoveAll(r.documents); err != nil {
			return nil, fmt.Errorf("restore: remove what a restore left that fell: %w", err)
		}
	}
	for _, dir := range []string{store, documents} {
		if err := os.RemoveAll(dir); err != nil { // of a restore that fell
			return nil, fmt.Errorf("restore: %w", err)
		}
		if err := privateDir(dir); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	census, err := r.fill(ctx, store, documents)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := r.place(store, documents); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return census, nil
}

// place puts both folders in their places.
func (r *restoring) place(store, documents string) error {
	if err := put(documents, r.documents); err != nil {
		return err
	}
	err := syncParent(r.documents)
	if err == nil {
		err = put(store, r.store)
	}
	if err != nil {
		return errors.Join(err, os.Rename(r.documents, documents))
	}
	if err := syncParent(r.store); err != nil {
		return fmt.Errorf("all is in its place, and may not outlive a power cut: %w", err)
	}
	return nil
}

// halfDone reports whether a restore was killed between its two renames: its documents are in their place, its store is aside.
func (r *restoring) halfDone() bool {
	store, documents := r.aside()
	return present(store) && !present(documents) && present(r.documents) && !present(r.store)
}

// present reports whether there is a folder with something in it.
func present(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// put moves a folder to its place, where an empty one may be.
func put(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// syncParent has a folder's name be durable.
func syncParent(dir string) error {
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(smallfile.SyncDir(root, "."), root.Close())
}

// fill writes the rows and the blobs, and reads all of it again.
func (r *restoring) fill(ctx context.Context, storeDir, documentsDir string) (_ *vault.Census, err error) {
	rows, err := badgerdb.Open(badgerdb.Options{Dir: storeDir, Logger: r.log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	blobs, err := file.Open(documentsDir, uint64(badgerdb.DefaultReserve.NewData))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	has, err := r.snapshot.Fill(ctx, rows, blobs, r.progress)
	if err != nil {
		return nil, err
	}
	return vault.Inspect(ctx, rows, func(id blob.ID) bool { return has[id] })
}
