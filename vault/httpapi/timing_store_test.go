package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
)

// stage is a store on which the same scene is played again and again: once the curtain is up, nothing that is written stays,
// so that the last call finds what the first one did.
type stage struct {
	store.Store
	up    atomic.Bool
	leaks atomic.Int64 // nanoseconds that reading a row that is there takes longer: what a tester has to find

	mu    sync.Mutex
	trace *strings.Builder // what is asked of the store, without what it is about; nil: nobody looks
}

// errCurtain undoes an Update that was made in full.
var errCurtain = errors.New("nothing of this stays")

func (s *stage) View(ctx context.Context, f func(store.Reader) error) error {
	s.note(ctx, "view")
	return s.Store.View(ctx, func(r store.Reader) error { return f(&watched{ctx, r, s}) })
}

func (s *stage) Update(ctx context.Context, f func(store.Writer) error) error {
	s.note(ctx, "update")
	err := s.Store.Update(ctx, func(w store.Writer) error {
		if err := f(&watchedWriter{watched{ctx, w, s}, w}); err != nil || !s.up.Load() {
			return err
		}
		return errCurtain
	})
	if errors.Is(err, errCurtain) {
		return nil
	}
	return err
}

// staged marks the context of the calls that are looked at: the vault's own work goes on beside them.
type staged struct{}

func (s *stage) note(ctx context.Context, format string, values ...any) {
	if ctx.Value(staged{}) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trace != nil {
		fmt.Fprintf(s.trace, format+"\n", values...)
	}
}

// traced is what f asks of the store, in a context that is marked.
func (s *stage) traced(f func()) string {
	s.mu.Lock()
	s.trace = &strings.Builder{}
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.trace = nil }()
	return s.trace.String()
}

type watched struct {
	ctx context.Context //nolint:containedctx // of the View or Update
	store.Reader
	stage *stage
}

func (w *watched) Get(keys ...[]byte) ([][]byte, error) {
	for _, k := range keys {
		w.stage.note(w.ctx, "get %d", len(k))
	}
	values, err := w.Reader.Get(keys...)
	if leak := time.Duration(w.stage.leaks.Load()); leak > 0 && values[0] != nil {
		for began := clock.System(); clock.System().Sub(began) < leak; {
		}
	}
	return values, err
}

func (w *watched) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	w.stage.note(w.ctx, "scan %d %d", len(prefix), limit)
	return w.Reader.Scan(prefix, after, limit)
}

type watchedWriter struct {
	watched
	writer store.Writer
}

func (w *watchedWriter) Set(key, value []byte) error {
	w.stage.note(w.ctx, "set %d %d", len(key), len(value))
	return w.writer.Set(key, value)
}

func (w *watchedWriter) Delete(key []byte) error {
	w.stage.note(w.ctx, "delete %d", len(key))
	return w.writer.Delete(key)
}
