package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/vault/blob"
)

// errOtherBlob: the bucket has something else where a document of the backup belongs. Ids are random, so that is no accident.
var errOtherBlob = errors.New("the bucket holds something else under the name of a document of the backup: restore into another bucket or prefix")

// filling is a place of documents that may have some of those that are restored: it lost none, or a restore was killed. What is there
// already is read and held against the backup, and left as it is.
type filling struct{ blob.Store }

// Create begins a blob, or a comparison with the one that is there.
func (f filling) Create(ctx context.Context, id blob.ID) (blob.Writer, error) {
	there, err := f.Store.Open(ctx, id)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return f.Store.Create(ctx, id)
	case err != nil:
		return nil, err
	}
	return &comparing{id: id, with: there}, nil
}

// comparing takes the bytes of a blob that is there already.
type comparing struct {
	id   blob.ID
	with blob.Reader
	same int64 // bytes from the beginning
	read []byte
	over bool
}

// Write fails with errOtherBlob at what is not what is there.
func (c *comparing) Write(p []byte) (int, error) {
	if c.same+int64(len(p)) > c.with.Size() {
		return 0, c.other()
	}
	c.read = slices.Grow(c.read[:0], len(p))[:len(p)]
	if n, err := c.with.ReadAt(c.read, c.same); n < len(p) {
		return 0, fmt.Errorf("read document part %s: %w", c.id, err)
	}
	if !bytes.Equal(c.read, p) {
		return 0, c.other()
	}
	c.same += int64(len(p))
	return len(p), nil
}

func (c *comparing) other() error { return fmt.Errorf("document part %s: %w", c.id, errOtherBlob) }

// Commit sees that there is no more than what was written.
func (c *comparing) Commit() error {
	if c.same != c.with.Size() {
		return c.other()
	}
	c.over = true
	return c.with.Close()
}

// Abort ends the comparison.
func (c *comparing) Abort() {
	if !c.over {
		_ = c.with.Close() // nothing was written
	}
}
