package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// restoring fills folders of a store and of documents from a snapshot, aside from where they are to be: nothing is in its
// place before all of it was read and found to be what was backed up.
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

// run restores aside, inspects what it restored, and puts it in place. After an error nothing is.
func (r *restoring) run(ctx context.Context) (_ *vault.Census, err error) {
	store, documents := r.aside()
	defer func() { err = errors.Join(err, os.RemoveAll(store), os.RemoveAll(documents)) }()
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
	// The store last: a home is set up when it has one.
	for _, place := range [][2]string{{documents, r.documents}, {store, r.store}} {
		if err := os.Remove(place[1]); err != nil && !errors.Is(err, os.ErrNotExist) { // it is empty
			return nil, fmt.Errorf("restore: %w", err)
		}
		if err := os.Rename(place[0], place[1]); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	return census, nil
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
