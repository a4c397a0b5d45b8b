package s3

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/bucket"
)

const (
	windowSize = 1 << 20 // bytes that are got at once, at multiples of it
	windows    = 2       // that are kept: who opens a document looks at its end, and reads on from the beginning
)

// reader reads a blob window by window.
type reader struct {
	ctx    context.Context // of Open
	cancel context.CancelFunc
	bucket *bucket.Bucket
	id     blob.ID
	size   int64

	mu   sync.Mutex // not held over requests
	kept []*window  // the one used last in front
}

// window is a piece of the blob, once ready is closed.
type window struct {
	number int64
	ready  chan struct{}
	bytes  []byte
	err    error
}

// Size is the length in bytes.
func (r *reader) Size() int64 { return r.size }

// Close ends requests under way and all further ones.
func (r *reader) Close() error {
	r.cancel()
	return nil
}

// ReadAt reads from the windows that hold what is asked for.
func (r *reader) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("blob/s3: read %s: negative offset", r.id)
	}
	for n < len(p) {
		if offset >= r.size {
			return n, io.EOF
		}
		piece, err := r.window(offset / windowSize)
		if err != nil {
			return n, told("read", r.id, err)
		}
		took := copy(p[n:], piece[offset%windowSize:])
		n, offset = n+took, offset+int64(took)
	}
	return n, nil
}

// window gets a window, or waits for whoever is getting it.
func (r *reader) window(number int64) ([]byte, error) {
	w, mine := r.take(number)
	if mine {
		offset := number * windowSize
		w.bytes, w.err = r.bucket.GetRange(r.ctx, r.id.String(), offset, min(windowSize, r.size-offset))
		if w.err != nil {
			r.drop(w)
		}
		close(w.ready)
	}
	<-w.ready // whoever gets it has deadlines
	return w.bytes, w.err
}

// take finds a window, or makes place for it; then it is the caller's to get.
func (r *reader) take(number int64) (w *window, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.kept {
		if w.number == number {
			copy(r.kept[1:i+1], r.kept[:i])
			r.kept[0] = w
			return w, false
		}
	}
	w = &window{number: number, ready: make(chan struct{})}
	r.kept = append([]*window{w}, r.kept[:min(len(r.kept), windows-1)]...)
	return w, true
}

// drop forgets a window that could not be got, so that the next who asks for it tries again.
func (r *reader) drop(w *window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range r.kept {
		if k == w {
			r.kept = append(r.kept[:i], r.kept[i+1:]...)
			return
		}
	}
}
