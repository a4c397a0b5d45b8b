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
//
// Documents that go into a bucket go straight to their place, where those that are there already stay. What a restore that fails
// has put there is found there by the next.
type restoring struct {
	snapshot  *backup.Snapshot
	store     string     // folder
	documents string     // folder; empty when they go into the bucket
	bucket    blob.Store // nil when they go into the folder
	log       *slog.Logger
	progress  func(bytes int64)
}

const restoringSuffix = ".restoring"

// aside is a folder as long as it is filled.
func aside(dir string) string { return dir + restoringSuffix }

// folders are those that are filled, in the order in which they come to their places.
func (r *restoring) folders() []string {
	if r.bucket != nil {
		return []string{r.store}
	}
	return []string{r.documents, r.store}
}

// vacant refuses places in which there is a store, or documents that no restore left.
func (r *restoring) vacant() error {
	half := r.halfDone()
	for _, dir := range r.folders() {
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
	defer func() {
		for _, dir := range r.folders() {
			err = errors.Join(err, os.RemoveAll(aside(dir)))
		}
	}()
	if r.halfDone() {
		if err := os.RemoveAll(r.documents); err != nil {
			return nil, fmt.Errorf("restore: remove what a restore left that fell: %w", err)
		}
	}
	for _, dir := range r.folders() {
		if err := os.RemoveAll(aside(dir)); err != nil { // of a restore that fell
			return nil, fmt.Errorf("restore: %w", err)
		}
		if err := privateDir(aside(dir)); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	census, err := r.fill(ctx)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := r.place(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return census, nil
}

// place puts the folders in their places, the store last. When that fails the others go aside again.
func (r *restoring) place() error {
	var placed []string
	for _, dir := range r.folders() {
		err := put(aside(dir), dir)
		if err == nil {
			placed = append(placed, dir)
			err = syncParent(dir)
		}
		if err == nil {
			continue
		}
		if len(placed) == len(r.folders()) {
			return fmt.Errorf("all is in its place, and may not outlive a power cut: %w", err)
		}
		for _, dir := range placed {
			err = errors.Join(err, os.Rename(dir, aside(dir)))
		}
		return err
	}
	return nil
}

// halfDone reports whether a restore was killed between its two renames: its documents are in their place, its store is aside.
func (r *restoring) halfDone() bool {
	return r.bucket == nil && present(aside(r.store)) && !present(aside(r.documents)) && present(r.documents) && !present(r.store)
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
func (r *restoring) fill(ctx context.Context) (_ *vault.Census, err error) {
	rows, err := badgerdb.Open(badgerdb.Options{Dir: aside(r.store), Logger: r.log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	blobs := r.bucket
	if blobs == nil {
		folder, err := file.Open(aside(r.documents), uint64(badgerdb.DefaultReserve.NewData))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, folder.Close()) }()
		blobs = folder
	}
	has, err := r.snapshot.Fill(ctx, rows, blobs, r.progress)
	if err != nil {
		return nil, err
	}
	return vault.Inspect(ctx, rows, func(id blob.ID) bool { return has[id] })
}
