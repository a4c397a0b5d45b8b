package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sandyq/sandyq/vault/store"
)

var errRefused = errors.New("refused by f")

// concurrently runs f for each client at once and joins the errors.
func concurrently(clients int, f func(client int) error) error {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { errs[c] = f(c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func errorDropsWrites(s store.Store, _ uint64) error {
	if err := put(s, "kept", "old", "there", "yes"); err != nil {
		return err
	}
	err := s.Update(background, func(w store.Writer) error {
		return errors.Join(putIn(w, "kept", "new", "fresh", "1"), w.Delete([]byte("there")), errRefused)
	})
	if !errors.Is(err, errRefused) {
		return fmt.Errorf("Update returned %v, not the error of f", err)
	}
	return errors.Join(
		wantStored(s, "kept", []byte("old")),
		wantStored(s, "fresh", nil),
		wantStored(s, "there", []byte("yes")),
		put(s, "after", "1"), // what was dropped must not come along with the next
		wantStored(s, "fresh", nil),
		wantStored(s, "there", []byte("yes")),
	)
}

// errorDropsOnlyItsOwn mixes Updates that succeed with ones that fail, all on shared keys.
func errorDropsOnlyItsOwn(s store.Store, _ uint64) error {
	const clients, rounds = 16, 20
	err := concurrently(clients, func(c int) error {
		for round := range rounds {
			err := s.Update(background, func(w store.Writer) error {
				if poison, err := one(w, "poison"); poison != nil || err != nil {
					return fmt.Errorf("reads what a failed Update wrote: %v %w", poison, err)
				}
				if c%2 == 0 {
					return putIn(w, fmt.Sprintf("good/%d/%d", c, round), "1")
				}
				return errors.Join(putIn(w, "poison", "1", fmt.Sprintf("bad/%d/%d", c, round), "1"), errRefused)
			})
			if c%2 == 0 && err != nil || c%2 == 1 && !errors.Is(err, errRefused) {
				return fmt.Errorf("client %d: %w", c, err)
			}
		}
		return nil
	})
	return errors.Join(err, s.View(background, func(r store.Reader) error {
		good, err := r.Scan([]byte("good/"), nil, 1000)
		if len(good) != clients/2*rounds {
			err = errors.Join(err, fmt.Errorf("%d of %d good writes are there", len(good), clients/2*rounds))
		}
		return errors.Join(err, wantScan(r, "bad/", nil, 1), wantValue(r, "poison", nil))
	}))
}

func cancelledContext(s store.Store, _ uint64) error {
	ctx, cancel := context.WithCancel(background)
	cancel()
	if err := s.Update(ctx, func(w store.Writer) error { return putIn(w, "k", "v") }); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Update with a context that is done returned %v", err)
	}
	if err := s.View(ctx, func(store.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("View with a context that is done returned %v", err)
	}
	return wantStored(s, "k", nil)
}

// cancelledWhileWaiting cancels Updates at any moment: nil means that all was written, an error of the context that all
// or nothing was.
func cancelledWhileWaiting(s store.Store, _ uint64) error {
	return concurrently(8, func(c int) error {
		for i := range 40 {
			prefix := fmt.Sprintf("%d/%d/", c, i)
			ctx, cancel := context.WithCancel(background)
			go cancel()
			updated := s.Update(ctx, func(w store.Writer) error { return putIn(w, prefix+"a", "v", prefix+"b", "v") })
			cancel()
			if updated != nil && !errors.Is(updated, context.Canceled) {
				return updated
			}
			err := s.View(background, func(r store.Reader) error {
				pairs, err := r.Scan([]byte(prefix), nil, 3)
				if n := len(pairs); err == nil && n != 2 && (updated == nil || n != 0) {
					err = fmt.Errorf("after Update returned %v, %d of 2 writes are there", updated, n)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func panicReachesCaller(s store.Store, _ uint64) error {
	err := concurrently(4, func(c int) (err error) {
		defer func() {
			if p := recover(); p != c {
				err = fmt.Errorf("f panicked with %v, the caller of Update with %v", c, p)
			}
		}()
		return s.Update(background, func(w store.Writer) error {
			if err := putIn(w, "k", "v"); err != nil {
				return err
			}
			panic(c)
		})
	})
	return errors.Join(err, wantStored(s, "k", nil), put(s, "k", "after"), wantStored(s, "k", []byte("after")))
}

func closing(s store.Store, _ uint64) error {
	if err := put(s, "k", "v"); err != nil {
		return err
	}
	inView, closed := make(chan struct{}), make(chan error, 1)
	err := s.View(background, func(r store.Reader) error {
		go func() {
			close(inView)
			closed <- s.Close()
		}()
		<-inView
		for range 1000 {
			if err := wantValue(r, "k", []byte("v")); err != nil {
				return fmt.Errorf("in a View while Close waits: %w", err)
			}
		}
		select {
		case <-closed:
			return errors.New("a View was not waited for by Close")
		default:
			return nil
		}
	})
	if err := errors.Join(err, <-closed); err != nil {
		return err
	}
	if err := put(s, "k", "w"); !errors.Is(err, store.ErrClosed) {
		return fmt.Errorf("Update after Close returned %v", err)
	}
	if err := s.View(background, func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		return fmt.Errorf("View after Close returned %v", err)
	}
	return nil
}
