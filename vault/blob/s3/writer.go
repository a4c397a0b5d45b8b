package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/bucket"
)

const (
	partSize  = 5 << 20 // bytes; the least that S3 takes
	maxParts  = 1000
	firstSize = 64 << 10 // of the buffer, which doubles
)

// writer sends a blob part by part.
type writer struct {
	ctx    context.Context // of Create: when it ends, so does the writing
	id     blob.ID
	upload *bucket.Upload // nil once committed or aborted
	part   []byte         // not sent yet
	sent   int            // parts
	failed error          // after which nothing more is sent, nor committed
}

var errFinished = errors.New("blob was committed or aborted")

// Write takes what comes into the part, and sends the part when it is full. After an error the blob can only be aborted.
func (w *writer) Write(p []byte) (n int, err error) {
	if err := w.ready(); err != nil {
		return 0, w.fail("write", err)
	}
	for len(p) > 0 {
		if len(w.part) == partSize {
			if err := w.send(); err != nil {
				return n, w.fail("write", err)
			}
		}
		w.grow(len(p))
		took := min(len(p), cap(w.part)-len(w.part))
		w.part = append(w.part, p[:took]...)
		n, p = n+took, p[took:]
	}
	return n, nil
}

// grow makes room for n bytes, up to a part.
func (w *writer) grow(n int) {
	if cap(w.part)-len(w.part) >= n || cap(w.part) == partSize {
		return
	}
	size := min(partSize, max(firstSize, 2*cap(w.part), len(w.part)+n))
	w.part = append(make([]byte, 0, size), w.part...)
}

// send sends the part. What is in it is not touched again when that fails: a request may still be reading it.
func (w *writer) send() error {
	if w.sent == maxParts {
		return fmt.Errorf("it has more than %d parts of %d bytes", maxParts, partSize)
	}
	if err := w.upload.Part(w.ctx, w.part); err != nil {
		return err
	}
	w.sent++
	w.part = w.part[:0]
	return nil
}

// ready reports what forbids to go on.
func (w *writer) ready() error {
	switch {
	case w.failed != nil:
		return w.failed
	case w.upload == nil:
		return errFinished
	default:
		return w.ctx.Err()
	}
}

// fail notes the first failure.
func (w *writer) fail(doing string, err error) error {
	if w.failed == nil {
		w.failed = told(doing, w.id, err)
	}
	return w.failed
}

// Commit sends the rest and makes the object.
func (w *writer) Commit() error {
	if err := w.ready(); err != nil {
		return w.fail("commit", err)
	}
	if len(w.part) > 0 || w.sent == 0 {
		if err := w.send(); err != nil {
			return w.fail("commit", err)
		}
	}
	if err := w.upload.Complete(w.ctx); err != nil {
		return w.fail("commit", err)
	}
	w.upload, w.part = nil, nil
	return nil
}

// Abort drops what was sent. What fails stays and is listed as partial.
func (w *writer) Abort() {
	if w.upload == nil {
		return
	}
	_ = w.upload.Abort(context.WithoutCancel(w.ctx)) // the orphan sweep finds what stays
	w.upload, w.part = nil, nil
}
