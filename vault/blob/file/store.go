// Package file keeps blobs as files, one each, in a directory of its own.
//
// # Layout
//
// A blob lies at <first byte of the id>/<id>, both in lower-case hexadecimal: 256 folders, so that none grows large. While
// it is written its name ends in .part. Folders are 0700 and files 0600. Nothing else lies there, and nothing is written
// anywhere else; a name that is neither is left alone and not listed.
//
// # What is durable when
//
// Commit syncs the file, renames it over to its name and syncs the folder, so that after a crash at any point a blob is
// there whole or not at all; what was cut short stays as .part until the owner of the rows removes it. A folder is made
// durable before anything lies in it. Remove syncs the folder after the unlink. A failed sync is an error that says the
// effect is unknown, and the same file is not synced again to make it go away.
//
// # A full disk
//
// Below the free-space floor no blob is begun, and one being written stops at the write that finds it reached, with
// blob.ErrNoSpace. The floor leaves room for the store beside it and for removals.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sandyq/sandyq/vault/blob"
)

const (
	partial    = ".part" // what the name of a blob being written ends in
	folderMode = 0o700
	fileMode   = 0o600
)

// Store is a blob.Store over a directory. Several processes may use the same one.
type Store struct {
	root  *os.Root
	floor uint64
	free  func(*os.Root) (uint64, error) // bytes free where the directory lies
	sync  func(*os.File) error

	mu      sync.Mutex
	folders map[string]bool // known to be durable
}

var _ blob.Store = (*Store)(nil)

// Open opens the directory at path, which is made when it is absent (its parent is not). Below floor bytes of free space
// nothing new is written.
func Open(path string, floor uint64) (*Store, error) {
	if err := os.Mkdir(path, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("blob/file: make the directory: %w", err)
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(path)))
	if err != nil {
		return nil, fmt.Errorf("blob/file: open the directory above: %w", err)
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return nil, fmt.Errorf("blob/file: sync the directory above: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("blob/file: open the directory: %w", err)
	}
	return &Store{root: root, floor: floor, free: freeSpace, sync: (*os.File).Sync, folders: make(map[string]bool)}, nil
}

// Close lets go of the directory. Blobs that are open stay so.
func (s *Store) Close() error {
	if err := s.root.Close(); err != nil {
		return fmt.Errorf("blob/file: close: %w", err)
	}
	return nil
}

// folderOf is the folder of a blob, and pathOf its file, below the root.
func folderOf(id blob.ID) string { return id.String()[:2] }
func pathOf(id blob.ID) string   { return folderOf(id) + "/" + id.String() }

// Create begins a blob; an id that was committed or begun before is refused.
func (s *Store) Create(ctx context.Context, id blob.ID) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("blob/file: create %s: %w", id, err)
	}
	if err := s.room(0); err != nil {
		return nil, err
	}
	if err := s.ensureFolder(folderOf(id)); err != nil {
		return nil, err
	}
	if _, err := s.root.Lstat(pathOf(id)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob/file: create %s: %w", id, errors.Join(err, fs.ErrExist))
	}
	f, err := s.root.OpenFile(pathOf(id)+partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, fmt.Errorf("blob/file: create %s: %w", id, noSpace(err))
	}
	return &writer{store: s, ctx: ctx, id: id, file: f}, nil
}

// Open opens a committed blob.
func (s *Store) Open(ctx context.Context, id blob.ID) (blob.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("blob/file: open %s: %w", id, err)
	}
	f, err := s.root.Open(pathOf(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob/file: open %s: %w", id, blob.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob/file: open %s: %w", id, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob/file: open %s: %w", id, err), f.Close())
	}
	return &reader{File: f, size: info.Size()}, nil
}

// reader is an open blob.
type reader struct {
	*os.File
	size int64
}

// Size is the length in bytes; a committed blob never changes.
func (r *reader) Size() int64 { return r.size }

// Remove removes a blob, committed or being written.
func (s *Store) Remove(ctx context.Context, id blob.ID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("blob/file: remove %s: %w", id, err)
	}
	// The partial name first: a Commit that comes between finds nothing to rename, or has renamed before.
	for _, path := range []string{pathOf(id) + partial, pathOf(id)} {
		if err := s.root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("blob/file: remove %s: %w", id, err)
		}
	}
	// Also when nothing was there: an earlier removal may have been cut short before its sync.
	if err := s.syncFolder(folderOf(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// room fails with blob.ErrNoSpace when writing n more bytes would leave less than the floor free.
func (s *Store) room(n uint64) error {
	free, err := s.free(s.root)
	if err != nil {
		return err
	}
	if free < s.floor+n {
		return fmt.Errorf("blob/file: %d bytes free, %d must stay: %w", free, s.floor, blob.ErrNoSpace)
	}
	return nil
}

// ensureFolder makes a folder and its entry durable, once.
func (s *Store) ensureFolder(name string) error {
	s.mu.Lock()
	known := s.folders[name]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := s.root.Mkdir(name, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("blob/file: make a folder: %w", noSpace(err))
	}
	if err := s.syncFolder("."); err != nil { // also when it exists: who made it may not have come to this
		return err
	}
	s.mu.Lock()
	s.folders[name] = true
	s.mu.Unlock()
	return nil
}

// syncFolder makes the names in a folder durable.
func (s *Store) syncFolder(name string) error {
	f, err := s.root.Open(name)
	if err != nil {
		return fmt.Errorf("blob/file: sync a folder: %w", err)
	}
	err = s.sync(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("blob/file: sync a folder: %w", err)
	}
	return nil
}
