// Package blob is the seam to where the ciphertext of documents lies: one file each, or one object each. A blob is
// written once, whole, and never changed; its id is random and says nothing.
package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"time"
)

// ErrNotFound: there is no such blob. It is not proof of anything.
var ErrNotFound = errors.New("blob: not found")

// ErrNoSpace: too little room is left for new blobs.
var ErrNoSpace = errors.New("blob: too little free space")

// ID names a blob: 128 random bits.
type ID [16]byte

// NewID draws an id from the operating system's randomness.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// String is the id as 32 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Store keeps blobs. It is safe for concurrent use.
type Store interface {
	// Create begins a blob. It exists for others only after Commit.
	Create(ctx context.Context, id ID) (Writer, error)
	// Open opens a committed blob, or ErrNotFound.
	Open(ctx context.Context, id ID) (Reader, error)
	// Remove removes a blob, durably; an absent one is no error.
	Remove(ctx context.Context, id ID) error
	// List calls f for every blob, committed or still being written, until f returns an error.
	List(ctx context.Context, f func(Info) error) error
}

// Info is what List tells of a blob.
type Info struct {
	ID       ID
	Modified time.Time
	Partial  bool // begun and not committed
}

// Writer takes the bytes of a new blob. It is used by one goroutine.
type Writer interface {
	io.Writer
	// Commit makes the blob durable and visible. After an error the blob may or may not exist.
	Commit() error
	// Abort drops what was written; after Commit it does nothing.
	Abort()
}

// Reader reads a committed blob at any offset, from several goroutines.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}
