package storetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sandyq/sandyq/vault/store"
)

func ownWrites(s store.Store, _ uint64) error {
	if err := put(s, "a", "1", "b", "2"); err != nil {
		return err
	}
	err := s.Update(background, func(w store.Writer) error {
		return errors.Join(
			putIn(w, "a", "one", "c", "3"),
			w.Delete([]byte("b")),
			w.Delete([]byte("never there")),
			wantValue(w, "a", []byte("one")),
			wantValue(w, "b", nil),
			wantValue(w, "c", []byte("3")),
			putIn(w, "b", "back"),
			wantValue(w, "b", []byte("back")),
			w.Delete([]byte("c")),
			wantValue(w, "c", nil),
		)
	})
	return errors.Join(err, s.View(background, func(r store.Reader) error {
		values, err := r.Get([]byte("c"), []byte("a"), []byte("b"), []byte("a"))
		if got := fmt.Sprintf("%q", values); got != `["" "one" "back" "one"]` {
			err = errors.Join(err, fmt.Errorf("four keys gave %s", got))
		}
		return err
	}))
}

func emptyAndAbsent(s store.Store, _ uint64) error {
	err := s.Update(background, func(w store.Writer) error {
		return errors.Join(
			w.Set([]byte("empty"), []byte{}),
			w.Set([]byte("nil"), nil),
			w.Set([]byte{}, []byte("the empty key")),
			w.Set([]byte("!badger!"), []byte("no key is reserved")),
			w.Set([]byte{0}, []byte("zero")),
			wantValue(w, "empty", []byte{}),
			wantValue(w, "nil", []byte{}),
			wantValue(w, "absent", nil),
		)
	})
	return errors.Join(err, s.View(background, func(r store.Reader) error {
		none, err := r.Get()
		if len(none) != 0 {
			err = fmt.Errorf("no keys gave %d values", len(none))
		}
		return errors.Join(err,
			wantValue(r, "empty", []byte{}),
			wantValue(r, "nil", []byte{}),
			wantValue(r, "absent", nil),
			wantValue(r, "", []byte("the empty key")),
			wantValue(r, "!badger!", []byte("no key is reserved")),
			wantScan(r, "", nil, 1, "", "the empty key"),
			wantScan(r, "", []byte{}, 1, "\x00", "zero"),
			wantScan(r, "e", nil, 9, "empty", ""),
		)
	}))
}

func scanInOrder(s store.Store, _ uint64) error {
	if err := put(s, "b\xff\xff", "4", "b", "1", "c", "5", "a", "0", "b\x00", "2", "bb", "3", "\xff\xff", "7", "\xff", "6"); err != nil {
		return err
	}
	whole := []string{"a", "0", "b", "1", "b\x00", "2", "bb", "3", "b\xff\xff", "4", "c", "5", "\xff", "6", "\xff\xff", "7"}
	return s.View(background, func(r store.Reader) error {
		_, noLimit := r.Scan(nil, nil, 0)
		if noLimit == nil {
			return errors.New("Scan with a limit of 0 is no error")
		}
		return errors.Join(
			wantScan(r, "", nil, 100, whole...),
			wantScan(r, "", nil, 8, whole...),
			wantScan(r, "", nil, 3, whole[:6]...),
			wantScan(r, "", []byte("b\x00"), 100, whole[6:]...),
			wantScan(r, "", []byte("b\x00\x00"), 2, whole[6:10]...), // between two keys
			wantScan(r, "b", nil, 100, whole[2:10]...),
			wantScan(r, "b", []byte("a"), 100, whole[2:10]...), // before the prefix
			wantScan(r, "b", []byte("b"), 2, whole[4:8]...),
			wantScan(r, "b", []byte("b\xff\xff"), 100), // the last
			wantScan(r, "b", []byte("c"), 100),         // beyond the prefix
			wantScan(r, "\xff", nil, 100, whole[12:]...),
			wantScan(r, "d", nil, 100),
		)
	})
}

func scanThroughWrites(s store.Store, _ uint64) error {
	if err := put(s, "k1", "1", "k3", "3", "k5", "5", "k7", "7", "x", "x"); err != nil {
		return err
	}
	err := s.Update(background, func(w store.Writer) error {
		return errors.Join(
			putIn(w, "k0", "new", "k4", "new", "k5", "over", "k9", "new", "l", "new"),
			w.Delete([]byte("k3")),
			w.Delete([]byte("k7")),
			w.Delete([]byte("k8")),
			wantScan(w, "k", nil, 100, "k0", "new", "k1", "1", "k4", "new", "k5", "over", "k9", "new"),
			wantScan(w, "k", nil, 3, "k0", "new", "k1", "1", "k4", "new"), // the deleted do not count
			wantScan(w, "k", []byte("k1"), 2, "k4", "new", "k5", "over"),
			wantScan(w, "k", []byte("k5"), 2, "k9", "new"),
			wantScan(w, "k", []byte("k3"), 1, "k4", "new"), // after a deleted key
			wantScan(w, "x", nil, 1, "x", "x"),
			w.Delete([]byte("x")),
			wantScan(w, "x", nil, 1),
		)
	})
	return errors.Join(err, s.View(background, func(r store.Reader) error {
		return wantScan(r, "", nil, 100, "k0", "new", "k1", "1", "k4", "new", "k5", "over", "k9", "new", "l", "new")
	}))
}

func limits(s store.Store, _ uint64) error {
	fill := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	over := map[string]func(store.Writer) error{
		"key":          func(w store.Writer) error { return w.Set(fill(store.MaxKey+1), nil) },
		"deleted key":  func(w store.Writer) error { return w.Delete(fill(store.MaxKey + 1)) },
		"value":        func(w store.Writer) error { return w.Set([]byte("v"), fill(store.MaxValue+1)) },
		"bytes":        func(w store.Writer) error { return fillUpdate(w, store.MaxUpdate+1) },
		"writes":       func(w store.Writer) error { return countUpdate(w, store.MaxWrites+1) },
		"same key":     func(w store.Writer) error { return sameKey(w, store.MaxWrites+1) },
		"bytes undone": func(w store.Writer) error { return errors.Join(fillUpdate(w, store.MaxUpdate), w.Delete([]byte("u"))) },
	}
	for name, f := range over {
		for _, ignore := range []bool{false, true} {
			err := s.Update(background, func(w store.Writer) error {
				if err := w.Set([]byte("witness"), nil); err != nil {
					return err
				}
				if err := f(w); !ignore {
					return err
				}
				return nil
			})
			if !errors.Is(err, store.ErrTooLarge) {
				return fmt.Errorf("%s over the limit, refusal ignored %v: Update returned %v", name, ignore, err)
			}
		}
	}
	return errors.Join(
		wantStored(s, "witness", nil),
		put(s, string(fill(store.MaxKey)), string(fill(store.MaxValue))),
		wantStored(s, string(fill(store.MaxKey)), fill(store.MaxValue)),
	)
}

// largestUpdate writes all that one Update may, in bytes and in writes, several times so that an engine that puts
// Updates together must not put too many.
func largestUpdate(s store.Store, _ uint64) error {
	return concurrently(4, func(client int) error {
		f := fillUpdate
		n := store.MaxUpdate
		if client%2 == 1 {
			f, n = countUpdate, store.MaxWrites
		}
		if err := s.Update(background, func(w store.Writer) error { return f(w, n) }); err != nil {
			return fmt.Errorf("the largest Update: %w", err)
		}
		return nil
	})
}

// fillUpdate writes n bytes in all.
func fillUpdate(w store.Writer, n int) error {
	for i := 0; n > 0; i++ {
		key := fmt.Appendf(nil, "fill/%05d", i)
		size := min(store.MaxValue, max(0, n-len(key)))
		if err := w.Set(key, make([]byte, size)); err != nil {
			return err
		}
		n -= len(key) + size
	}
	return nil
}

// countUpdate makes n writes, of which every fourth deletes.
func countUpdate(w store.Writer, n int) error {
	for i := range n {
		key := fmt.Appendf(nil, "count/%05d", n-i)
		write := func() error { return w.Set(key, key) }
		if i%4 == 0 {
			write = func() error { return w.Delete(key) }
		}
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

func sameKey(w store.Writer, n int) error {
	for range n {
		if err := w.Set([]byte("same"), nil); err != nil {
			return err
		}
	}
	return nil
}
