package badgerdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/store"
)

// lingering returns in which files of the store a value is found.
func lingering(t *testing.T, dir string, value []byte) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, value) {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}

// TestCompactRemoves deletes values that lie in the log, in a fresh table, and at the bottom, and looks for their bytes
// in the files.
func TestCompactRemoves(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	canary := func(name string) []byte { return []byte("canary of " + name + ", which must go") }
	remove := func(name string) {
		t.Helper()
		err := s.Update(context.Background(), func(w store.Writer) error { return w.Delete([]byte("canary/" + name)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(name string) {
		t.Helper()
		for i := range 200 {
			if err := write(s, store.NewData, fmt.Sprintf("%s/%d", name, i), loadValue(1, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := write(s, store.NewData, "canary/"+name, canary(name)); err != nil {
			t.Fatal(err)
		}
	}
	compact := func() {
		t.Helper()
		if err := s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add("bottom")
	compact()
	add("table")
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	add("log")
	names := []string{"bottom", "table", "log"}
	for _, name := range names {
		remove(name)
		if len(lingering(t, s.opt.Dir, canary(name))) == 0 {
			t.Errorf("the canary of %s is gone before Compact: the test has no teeth", name)
		}
	}
	compact()
	for _, name := range names {
		if files := lingering(t, s.opt.Dir, canary(name)); len(files) > 0 {
			t.Errorf("the canary of %s is still in %v", name, files)
		}
	}
}

// TestCompactKeepsViews has a View that began before a delete read on through a compaction.
func TestCompactKeepsViews(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if err := write(s, store.NewData, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	err := s.View(t.Context(), func(r store.Reader) error {
		if err := s.Update(t.Context(), func(w store.Writer) error { return w.Delete([]byte("k")) }); err != nil {
			return err
		}
		if err := s.Compact(t.Context()); err != nil {
			return err
		}
		values, err := r.Get([]byte("k"))
		if string(values[0]) != "v" {
			t.Errorf("the View reads %q", values[0])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCompactHoldsClose closes a store that is being compacted: Badger must not be closed under the compaction.
func TestCompactHoldsClose(t *testing.T) {
	for i := range scaled(4) {
		s := open(t, Options{Dir: t.TempDir()})
		for j := range 100 {
			if err := write(s, store.NewData, fmt.Sprint(j), make([]byte, 200<<10)); err != nil {
				t.Fatal(err)
			}
		}
		compacted := make(chan error, 1)
		go func() { compacted <- s.Compact(context.Background()) }()
		time.Sleep(time.Duration(i) * 10 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-compacted:
			if err != nil && !errors.Is(err, store.ErrClosed) {
				t.Error(err)
			}
		case <-time.After(100 * time.Millisecond): // to be scheduled, not to compact
			t.Error("Close went by a Compact that runs")
			<-compacted
		}
	}
}

// TestResurrection deletes and overwrites under compaction, flushes, reopening and scans, with values of all sizes: what
// is gone stays gone.
func TestResurrection(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	rnd := rand.New(rand.NewPCG(11, 11))
	want := map[string]int{} // size by key
	for round := range scaled(12) {
		for range 60 {
			key := fmt.Sprintf("k/%03d", rnd.IntN(400))
			size := []int{0, 1, 100, 4096, 65_536, store.MaxValue - 1, store.MaxValue}[rnd.IntN(7)]
			gone := rnd.IntN(2) == 0
			err := s.Update(t.Context(), func(w store.Writer) error {
				if gone {
					return w.Delete([]byte(key))
				}
				return w.Set([]byte(key), make([]byte, size))
			})
			if err != nil {
				t.Fatal(err)
			}
			if delete(want, key); !gone {
				want[key] = size
			}
		}
		var err error
		switch round % 4 {
		case 0:
			err = s.Compact(t.Context())
		case 1:
			err = s.flush()
		case 2:
			err = s.Close()
			s = open(t, Options{Dir: dir})
		case 3:
			s = open(t, Options{Dir: copyDir(t, dir)}) // as after a crash
			dir = s.opt.Dir
		}
		if err != nil {
			t.Fatal(err)
		}
		wantSizes(t, s, want)
	}
}

func wantSizes(t *testing.T, s *Store, want map[string]int) {
	t.Helper()
	err := s.View(context.Background(), func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 1000)
		if len(pairs) != len(want) {
			t.Errorf("%d keys, want %d", len(pairs), len(want))
		}
		for _, p := range pairs {
			if size, ok := want[string(p.Key)]; !ok || size != len(p.Value) {
				t.Errorf("%s: %d bytes, want %d (%v)", p.Key, len(p.Value), size, ok)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
