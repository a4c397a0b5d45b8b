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

	"github.com/sandyq/sandyq/vault/store"
)

// holding says which files of a store hold any of the values.
func holding(t *testing.T, dir string, values [][]byte) (found []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if bytes.Contains(b, v) {
				found = append(found, filepath.Base(f))
				break
			}
		}
	}
	return found
}

func remove(t *testing.T, s *Store, keys ...string) {
	t.Helper()
	err := s.Update(context.Background(), func(w store.Writer) error {
		for _, key := range keys {
			if err := w.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, s *Store) store.Mark {
	t.Helper()
	m, err := s.Mark()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compacted(t *testing.T, s *Store) store.Residue {
	t.Helper()
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, measured := s.Residue()
	if !measured {
		t.Fatal("nothing was measured")
	}
	return r
}

// TestResidueIsMeasured: nothing before the first Compact, then whether what was removed is gone, also of what was
// overwritten.
func TestResidueIsMeasured(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if _, measured := s.Residue(); measured {
		t.Error("measured before anything was")
	}
	old, gone := []byte("the value that is overwritten"), []byte("the value that is deleted")
	for key, value := range map[string][]byte{"a": old, "b": gone, "c": []byte("stays")} {
		if err := write(s, store.NewData, key, value); err != nil {
			t.Fatal(err)
		}
	}
	compacted(t, s)
	if err := write(s, store.NewData, "a", []byte("new")); err != nil {
		t.Fatal(err)
	}
	remove(t, s, "b")
	removed := mark(t, s)
	if r, _ := s.Residue(); r.Clean >= removed {
		t.Errorf("clean to %d before what %d removed was looked for", r.Clean, removed)
	}
	if len(holding(t, s.opt.Dir, [][]byte{old})) == 0 || len(holding(t, s.opt.Dir, [][]byte{gone})) == 0 {
		t.Fatal("they are gone before: the test has no teeth")
	}
	if r := compacted(t, s); r.Clean < removed || r.Versions+r.Deletions+r.Files != 0 {
		t.Errorf("%+v, and %d removed it", r, removed)
	}
	if found := holding(t, s.opt.Dir, [][]byte{old, gone}); found != nil {
		t.Errorf("measured to be gone, and in %v", found)
	}
}

// TestResidueOfViews: a View that is open through a compaction keeps what it reads, which the measurement says; when the
// View has ended the next compaction drops it, although nothing was written meanwhile that would have the bottom rewritten.
func TestResidueOfViews(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	value := []byte("a value that a View reads on")
	if err := write(s, store.NewData, "k", value); err != nil {
		t.Fatal(err)
	}
	compacted(t, s)
	var removed store.Mark
	err := s.View(t.Context(), func(r store.Reader) error {
		remove(t, s, "k")
		removed = mark(t, s)
		if r := compacted(t, s); r.Clean >= removed || r.Versions == 0 {
			t.Errorf("with a View that needs it: %+v", r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(holding(t, s.opt.Dir, [][]byte{value})) == 0 {
		t.Fatal("it is gone before: the test has no teeth")
	}
	if r := compacted(t, s); r.Clean < removed || r.Versions+r.Deletions != 0 {
		t.Errorf("after the View: %+v, and %d removed it", r, removed)
	}
	if found := holding(t, s.opt.Dir, [][]byte{value}); found != nil {
		t.Errorf("measured to be gone, and in %v", found)
	}
}

// TestResidueOfFiles: a View that began after the delete does not keep the value from being dropped, but it keeps the file
// that held it; so that is no zero.
func TestResidueOfFiles(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	value := []byte("a value in a file that is read")
	if err := write(s, store.NewData, "k", value); err != nil {
		t.Fatal(err)
	}
	compacted(t, s)
	remove(t, s, "k")
	removed := mark(t, s)
	version, err := s.snapshots.acquire()
	if err != nil {
		t.Fatal(err)
	}
	txn := s.db.NewTransactionAt(version, false)
	it := newMerge(&reader{txn: txn}, nil, nil)
	r := compacted(t, s)
	left := holding(t, s.opt.Dir, [][]byte{value})
	if len(left) == 0 {
		t.Fatal("no file is held: the test has no teeth")
	}
	if r.Clean >= removed || r.Files == 0 {
		t.Errorf("%+v, and it is in %v", r, left)
	}
	it.base.Close()
	txn.Discard()
	s.snapshots.release(version)
	if r = compacted(t, s); r.Clean < removed || r.Files != 0 {
		t.Errorf("afterwards: %+v, and %d removed it", r, removed)
	}
	if left := holding(t, s.opt.Dir, [][]byte{value}); left != nil {
		t.Errorf("measured to be gone, and in %v", left)
	}
}

// TestResidueIsTrue removes and overwrites values of all sizes under Views, flushes, compactions, restarts and crashes:
// whatever a measurement says is gone is in no file, nothing that was removed is read again, and in the end all is gone.
func TestResidueIsTrue(t *testing.T) {
	for seed := range uint64(scaled(2)) {
		soak(t, seed)
	}
}

// removal is a value that was deleted or overwritten.
type removal struct {
	value []byte
	at    store.Mark // of the store as it is open now
}

func soak(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 22))
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	current := map[string][]byte{}
	var removals []removal
	sizes := []int{32, 33, 4000, 4096, 4200, 65_535, 65_536, store.MaxValue - 1, store.MaxValue}
	judge := func(r store.Residue, end bool) {
		t.Helper()
		var gone [][]byte
		kept := removals[:0]
		for _, x := range removals {
			if x.at <= r.Clean {
				gone = append(gone, x.value[:32])
			} else {
				kept = append(kept, x)
			}
		}
		if found := holding(t, dir, gone); found != nil {
			t.Errorf("seed %d: said to be gone, and in %v", seed, found)
		}
		if removals = kept; end && len(removals) > 0 {
			t.Errorf("seed %d: %d values are left in the end: %+v", seed, len(removals), r)
		}
	}
	for range 60 {
		some := map[string][]byte{}
		for range 1 + rnd.IntN(8) {
			value := make([]byte, sizes[rnd.IntN(len(sizes))])
			copy(value, fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64()))
			if rnd.IntN(2) == 0 {
				value = nil
			}
			some[fmt.Sprintf("k/%03d", rnd.IntN(100))] = value
		}
		err := s.Update(t.Context(), func(w store.Writer) error {
			for key, value := range some {
				if value == nil {
					if err := w.Delete([]byte(key)); err != nil {
						return err
					}
				} else if err := w.Set([]byte(key), bytes.Clone(value)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		now := mark(t, s)
		for key, value := range some {
			if was := current[key]; was != nil {
				removals = append(removals, removal{was, now})
			}
			if delete(current, key); value != nil {
				current[key] = value
			}
		}
		switch rnd.IntN(12) {
		case 0:
			judge(compacted(t, s), false)
		case 1:
			err = s.flush()
		case 2, 3: // as after a restart, and after a crash
			if rnd.IntN(2) == 0 {
				err = s.Close()
			} else {
				dir = copyDir(t, dir)
			}
			s = open(t, Options{Dir: dir})
			for i := range removals {
				removals[i].at = mark(t, s)
			}
		case 4:
			err = s.View(t.Context(), func(store.Reader) error {
				judge(compacted(t, s), false)
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, s, current)
	}
	judge(compacted(t, s), true)
	wantValues(t, s, current)
}

// wantValues reads everything, of which nothing may be missing or have come back.
func wantValues(t *testing.T, s *Store, want map[string][]byte) {
	t.Helper()
	err := s.View(context.Background(), func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 1000)
		if len(pairs) != len(want) {
			t.Errorf("%d keys, want %d", len(pairs), len(want))
		}
		for _, p := range pairs {
			if !bytes.Equal(want[string(p.Key)], p.Value) {
				t.Errorf("%s reads otherwise", p.Key)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
