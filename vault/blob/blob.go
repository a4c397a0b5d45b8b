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

// ErrUnavailable: where the blobs lie cannot be reached, or not now. What was asked may or may not have happened.
var ErrUnavailable = errors.New("blob: the storage cannot be reached")

// Kept is the error of a removal when the storage keeps, by rules that are not ours, what was removed: a bucket with object
// lock. Nobody who asks for the blob finds it; whoever has the bucket does. It is gone when a later removal has no error.
type Kept struct {
	Until time.Time // when it can be removed; zero when nobody knows
}

func (k *Kept) Error() string { return "blob: removed, and kept by the storage for a time" }

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
	// Open opens a committed blob, or ErrNotFound. The blob is read no longer than the context lasts.
	Open(ctx context.Context, id ID) (Reader, error)
	// Remove removes a blob, durably; an absent one is no error. A blob that the storage keeps is a *Kept.
	Remove(ctx context.Context, id ID) error
	// List calls f for every blob, committed, still being written or kept after its removal, until f returns an error.
	List(ctx context.Context, f func(Info) error) error
}

// Info is what List tells of a blob.
type Info struct {
	ID       ID
	Modified time.Time
	Size     int64 // bytes, of what is committed
	Partial  bool  // begun and not committed
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
