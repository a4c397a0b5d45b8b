package storetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuiteCatchesMutants runs checks on stores that are each broken in one way an engine might be. Whether a flaw
// shows depends on how the clients' steps fall, so a check gets several runs: the shyest of them misses one in ten.
func TestSuiteCatchesMutants(t *testing.T) {
	mutants := []struct {
		flaw  string
		open  func() store.Store
		check string // must find it
	}{
		{"a View of a stale snapshot", func() store.Store { return &staleView{Store: memory.New()} }, "view sees what was acknowledged"},
		{"a View of a stale snapshot", func() store.Store { return &staleView{Store: memory.New()} }, "registers are linearizable"},
		{"acknowledged and lost", func() store.Store { return &lossy{Store: memory.New()} }, "registers are linearizable"},
		{"another's failed writes", func() store.Store { return &leaky{Store: memory.New()} }, "error drops writes"},
		{"another's failed writes", func() store.Store { return &leaky{Store: memory.New()} }, "lists are serializable"},
		{"written blindly", func() store.Store { return &blind{Store: memory.New()} }, "counter"},
		{"written blindly", func() store.Store { return &blind{Store: memory.New()} }, "lists are serializable"},
		{"one Update in several commits", func() store.Store { return &torn{Store: memory.New()} }, "transfers"},
		{"one Update in several commits", func() store.Store { return &torn{Store: memory.New()} }, "lists are serializable"},
		{"a Scan past the Update's writes", func() store.Store { return &forgetful{Store: memory.New()} }, "scan through writes"},
	}
	for _, m := range mutants {
		t.Run(m.flaw+"/"+m.check, func(t *testing.T) {
			i := slices.IndexFunc(all(), func(c check) bool { return c.name == m.check })
			for seed := range uint64(20) {
				if noticed(all()[i], m.open(), seed) {
					return
				}
			}
			t.Error("not noticed")
		})
	}
}

func noticed(c check, s store.Store, seed uint64) bool {
	defer s.Close()
	return c.run(s, seed) != nil
}

// recorder keeps the writes that pass through it.
type recorder struct {
	store.Writer
	writes []store.Pair // deleted with a nil value
}

func (r *recorder) Set(key, value []byte) error {
	r.writes = append(r.writes, store.Pair{Key: key, Value: append([]byte{}, value...)})
	return r.Writer.Set(key, value)
}

func (r *recorder) Delete(key []byte) error {
	r.writes = append(r.writes, store.Pair{Key: key})
	return r.Writer.Delete(key)
}

func replay(w store.Writer, writes []store.Pair) (err error) {
	for _, p := range writes {
		if p.Value == nil {
			err = errors.Join(err, w.Delete(p.Key))
		} else {
			err = errors.Join(err, w.Set(p.Key, p.Value))
		}
	}
	return err
}

// staleView serves, now and then, the View that the one before got.
type staleView struct {
	store.Store
	mu    sync.Mutex
	n     int
	stale *memory.Store
}

func (s *staleView) View(ctx context.Context, f func(store.Reader) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.n%5 == 0 && s.stale != nil {
		return s.stale.View(ctx, f)
	}
	s.stale = memory.New()
	err := s.Store.View(ctx, func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 100_000)
		return errors.Join(err, s.stale.Update(background, func(w store.Writer) error { return replay(w, pairs) }))
	})
	if err != nil {
		return err
	}
	return s.Store.View(ctx, f)
}

// lossy answers some Updates without having written them.
type lossy struct {
	store.Store
	n atomic.Int64
}

func (s *lossy) Update(ctx context.Context, f func(store.Writer) error) error {
	if s.n.Add(1)%10 != 0 {
		return s.Store.Update(ctx, f)
	}
	lost := errors.New("lost")
	err := s.Store.Update(ctx, func(w store.Writer) error { return errors.Join(f(w), lost) })
	if err.Error() == lost.Error() {
		return nil
	}
	return err
}

// leaky lets writes of a refused Update into the next one.
type leaky struct {
	store.Store
	mu   sync.Mutex
	leak []store.Pair
}

func (s *leaky) Update(ctx context.Context, f func(store.Writer) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Store.Update(ctx, func(w store.Writer) error {
		if err := replay(w, s.leak); err != nil {
			return err
		}
		s.leak = nil
		r := recorder{Writer: w}
		err := f(&r)
		if err != nil {
			s.leak = r.writes
		}
		return err
	})
}

// blind runs f on a snapshot and commits what it wrote later, without looking whether what it read still holds.
type blind struct{ store.Store }

func (s *blind) Update(ctx context.Context, f func(store.Writer) error) error {
	scratch := memory.New()
	defer scratch.Close()
	err := s.Store.View(ctx, func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 100_000)
		return errors.Join(err, scratch.Update(background, func(w store.Writer) error { return replay(w, pairs) }))
	})
	if err != nil {
		return err
	}
	var r recorder
	if err := scratch.Update(ctx, func(w store.Writer) error {
		r = recorder{Writer: w}
		return f(&r)
	}); err != nil {
		return err
	}
	runtime.Gosched()
	return s.Store.Update(ctx, func(w store.Writer) error { return replay(w, r.writes) })
}

// torn commits each write of an Update for itself, on top of whatever has come in between.
type torn struct{ store.Store }

func (s *torn) Update(ctx context.Context, f func(store.Writer) error) error {
	var r recorder
	refused := errors.New("not yet")
	err := s.Store.Update(ctx, func(w store.Writer) error {
		r = recorder{Writer: w}
		if err := f(&r); err != nil {
			return err
		}
		return refused
	})
	if err != refused {
		return err
	}
	for _, p := range r.writes {
		runtime.Gosched()
		if err := s.Store.Update(ctx, func(w store.Writer) error { return replay(w, []store.Pair{p}) }); err != nil {
			return err
		}
	}
	return nil
}

// forgetful scans what was there before the Update.
type forgetful struct{ store.Store }

type forgetfulWriter struct {
	store.Writer
	before store.Reader
}

func (w forgetfulWriter) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	return w.before.Scan(prefix, after, limit)
}

func (s *forgetful) Update(ctx context.Context, f func(store.Writer) error) error {
	return s.Store.Update(ctx, func(w store.Writer) error {
		return s.View(ctx, func(r store.Reader) error { return f(forgetfulWriter{w, r}) })
	})
}
