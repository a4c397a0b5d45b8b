package backup

import (
	"context"
	"io"
)

// The folders of a repository.
const (
	chunksFolder    = "chunks"
	blobsFolder     = "blobs"
	listingsFolder  = "listings"
	snapshotsFolder = "snapshots"
	configObject    = "config"
)

// Objects keep the files of a repository: names with slashes, written once. One process at a time writes; List, Open and
// Remove may be called while it does.
type Objects interface {
	// Create begins an object that has no name yet, and is nobody's if it never gets one.
	Create(ctx context.Context) (Object, error)
	// Open opens an object; fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List calls f for every object in a folder and below it, until f returns an error.
	List(ctx context.Context, folder string, f func(name string, size int64) error) error
	// Remove removes an object; an absent one is no error.
	Remove(ctx context.Context, name string) error
	// Flush makes durable what Commit and Remove did since the last Flush.
	Flush(ctx context.Context) error
}

// Object takes the bytes of a new object. It is used by one goroutine.
type Object interface {
	io.Writer
	// Commit makes the bytes durable and gives them a name, in place of whatever had it.
	Commit(name string) error
	// Abort drops what was written; after Commit it does nothing.
	Abort()
}
