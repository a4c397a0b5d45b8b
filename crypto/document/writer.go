package document

import (
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

// Writer encrypts one document. It holds a chunk or two of it at a time, and is for one goroutine.
//
// Close makes the file whole, so call it only after the last byte was written, never to clean up: a Writer that is abandoned
// holds nothing to release, and leaves a file that does not open.
type Writer struct {
	write  func([]byte) (int, error) // age's; functions, because fmt walks into age and shows its buffer
	close  func() error              // age's
	size   int64
	failed error // the first error
}

// zeros is what padding is written from.
var zeros [chunkSize]byte

// NewWriter begins a document under key in context c on dst, writing the header to it.
func NewWriter(dst io.Writer, key secret.Bytes, c envelope.Context) (*Writer, error) {
	if err := allowed(); err != nil {
		return nil, err
	}
	w, err := age.Encrypt(dst, wrapping{key, c})
	if err != nil {
		return nil, fmt.Errorf("document: beginning: %w", err)
	}
	return &Writer{write: w.Write, close: w.Close}, nil
}

// Write encrypts the next bytes of the plaintext. After an error every further call fails alike.
func (w *Writer) Write(p []byte) (int, error) {
	if w.failed != nil {
		return 0, w.failed
	}
	if int64(len(p)) > MaxSize-w.size {
		w.failed = ErrTooLong
		return 0, w.failed
	}
	n, err := w.write(p)
	w.size += int64(n)
	if err != nil {
		w.failed = fmt.Errorf("document: writing: %w", err)
	}
	return n, w.failed
}

// Size returns the number of plaintext bytes written so far: what Open needs to be told.
func (w *Writer) Size() int64 { return w.size }

// Close pads the document and finishes the file. It does not close dst. Closing twice is an error.
func (w *Writer) Close() error {
	if w.failed != nil {
		return w.failed
	}
	for left := paddedSize(w.size) - w.size; left > 0; {
		n, err := w.write(zeros[:min(left, chunkSize)])
		if err != nil {
			return fmt.Errorf("document: padding: %w", err)
		}
		left -= int64(n)
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("document: finishing: %w", err)
	}
	return nil
}
