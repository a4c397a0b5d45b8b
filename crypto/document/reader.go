package document

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

// Reader decrypts one document. Any number of goroutines may call ReadAt at once. Beside one chunk it keeps nothing of the
// plaintext, and it keeps neither the key nor the context, only the file's own key within age.
//
// Every ReadAt takes 64 KiB of its own for as long as it runs: stream with a buffer of several times that, such as 256 KiB.
type Reader struct {
	age  io.ReaderAt
	size int64
}

// Open opens the document of plaintextSize bytes under key in context c, from a file of size bytes. It reads the header and
// the last chunk, or nothing if size is not what plaintextSize makes it. A file that is not that document gives ErrOpen; an
// error of src itself is passed on, wrapped.
func Open(src io.ReaderAt, size int64, key secret.Bytes, c envelope.Context, plaintextSize int64) (*Reader, error) {
	if err := allowed(); err != nil {
		return nil, err
	}
	if plaintextSize < 0 || plaintextSize > MaxSize || size != fileSize(plaintextSize) {
		return nil, ErrOpen
	}
	r, _, err := age.DecryptReaderAt(source{src}, size, wrapping{key, c})
	if err != nil {
		return nil, fmt.Errorf("opening: %w", judge(err))
	}
	return &Reader{r, plaintextSize}, nil
}

// Size returns the length of the plaintext, in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads the plaintext from off, as io.ReaderAt has it. A chunk that was changed gives ErrOpen, and none of its bytes;
// an error of the source is passed on, wrapped.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("document: negative offset")
	}
	if off >= r.size {
		return 0, io.EOF
	}
	whole := p
	p = p[:min(int64(len(p)), r.size-off)]
	n, err := r.age.ReadAt(p, off)
	if n == len(p) {
		if n < len(whole) {
			return n, io.EOF
		}
		return n, nil
	}
	return n, fmt.Errorf("reading: %w", judge(err))
}

// source marks the errors of the file itself, to tell them from those of its content.
type source struct{ io.ReaderAt }

type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

func (s source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	return n, err
}

// judge returns the source's error where err comes from one, and ErrOpen for everything else age may say: its messages may
// quote the file.
func judge(err error) error {
	if failed, ok := errors.AsType[sourceError](err); ok {
		return failed.error
	}
	return ErrOpen
}
