package httpapi

import (
	"io"
	"net/http"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
)

// A document moves as slowly as its line allows, but it moves: time spent waiting for the other side may not exceed
// patience plus one second for every minRate bytes that have come or gone. 64 MiB may so take over an hour, and a
// connection that dribbles is ended after half a minute. Time that we spend ourselves does not count.
const (
	patience = 30 * time.Second
	minRate  = 16 << 10 // bytes a second
)

// pace holds one direction of one connection to that rule.
type pace struct {
	deadline func(time.Time) error // of the connection; a writer without deadlines answers http.ErrNotSupported
	moved    int64                 // bytes
	waited   time.Duration
}

// step runs one read or write under the deadline that is left.
func (p *pace) step(move func() (int, error)) (int, error) {
	began := clock.System()
	left := patience + time.Duration(p.moved)*time.Second/minRate - p.waited
	_ = p.deadline(began.Add(left))
	n, err := move()
	p.moved += int64(n)
	p.waited += clock.System().Sub(began)
	return n, err
}

// pacedReader is an upload's body: paced, limited, and remembering why it ended early.
type pacedReader struct {
	pace
	body  io.Reader
	left  int64 // bytes that may still come
	limit int64
	err   error // why it failed, as the client is told; nil at a clean end
}

// Read returns fault.TooLarge with the first byte above the limit.
func (r *pacedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.step(func() (int, error) { return r.body.Read(p) })
	switch {
	case int64(n) > r.left:
		n, r.err = int(r.left), tooLarge(r.limit)
		err = r.err
	case err == io.EOF:
		_ = r.deadline(time.Time{}) // one that passes while the document is being kept would end the request
	case err != nil:
		r.err = unread(err)
		err = r.err
	}
	r.left -= int64(n)
	return n, err
}

// pacedWriter is a download's connection.
type pacedWriter struct {
	http.ResponseWriter
	pace
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	return w.step(func() (int, error) { return w.ResponseWriter.Write(p) })
}
