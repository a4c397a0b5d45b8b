package client

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
)

// sending is one attempt's way of a file to the server. A transport may read a body for a while after it has answered; it
// reads this one from a pipe, so that nobody reads the file any more once end has returned.
type sending struct {
	*io.PipeReader // the request's body

	done   chan struct{} // closed when the file is read no more; what follows may be looked at then
	digest hash.Hash     // of what the transport took
	whole  bool          // it took all of it
}

// newSending begins to read file, until its end, until ctx ends or until end.
func newSending(ctx context.Context, file io.Reader) *sending {
	body, in := io.Pipe()
	s := &sending{PipeReader: body, done: make(chan struct{}), digest: sha256.New()}
	release := context.AfterFunc(ctx, func() { _ = in.CloseWithError(context.Cause(ctx)) }) // always nil
	go func() {
		defer close(s.done)
		defer release()
		_, err := io.Copy(taken{in, s.digest}, file)
		s.whole = err == nil
		_ = in.CloseWithError(err) // always nil
	}()
	return s
}

// end stops the reading and waits for it. When ctx ends first, the read under way, of a source that gives nothing, may
// still return.
func (s *sending) end(ctx context.Context) error {
	_ = s.Close() // always nil
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// taken hashes what a pipe's reader has taken.
type taken struct {
	*io.PipeWriter
	digest hash.Hash
}

func (t taken) Write(p []byte) (int, error) {
	n, err := t.PipeWriter.Write(p)
	t.digest.Write(p[:n])
	return n, err
}
