package badgerdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/store"
)

// copyDir copies the files of a store as they are, as a backup of a running one would, holes left out.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	for {
		if to := t.TempDir(); tryCopy(t, from, to) {
			return to
		}
	}
}

// tryCopy copies the files of a folder, which is in use; false when one was compacted away meanwhile.
func tryCopy(t *testing.T, from, to string) bool {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, e.Name())
		err1 := os.WriteFile(path, bytes.TrimRight(b, "\x00"), 0o600)
		if err := errors.Join(err1, os.Truncate(path, int64(len(b)))); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// crashed returns the folder of a store that was not closed, with tables and a log, and how many keys it has.
func crashed(t *testing.T) (dir string, keys int) {
	t.Helper()
	s := open(t, Options{Dir: t.TempDir()})
	fill := func(n int) {
		for range n {
			if err := write(s, store.NewData, fmt.Sprintf("key/%06d", keys), loadValue(0, keys)); err != nil {
				t.Fatal(err)
			}
			keys++
		}
	}
	fill(150)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(150)
	if err := s.flush(); err != nil { // a second table, or one level more
		t.Fatal(err)
	}
	fill(150)
	return copyDir(t, s.opt.Dir), keys
}

// intact holds a store against what crashed wrote; the last key may be missing when lastLost.
func intact(s *Store, keys int, lastLost bool) error {
	return s.View(context.Background(), func(r store.Reader) error {
		pairs, err := r.Scan([]byte("key/"), nil, keys+1)
		if err != nil {
			return err
		}
		if len(pairs) != keys && !(lastLost && len(pairs) == keys-1) {
			return fmt.Errorf("%d keys of %d", len(pairs), keys)
		}
		for i, p := range pairs {
			if string(p.Key) != fmt.Sprintf("key/%06d", i) || string(p.Value) != string(loadValue(0, i)) {
				return fmt.Errorf("key %q is not what was written", p.Key)
			}
		}
		return nil
	})
}

// TestBitFlips flips one bit at a time in each file. Either Open says so, or the bit did not matter. Only the last
// group in the log may be taken for a write that a crash interrupted.
func TestBitFlips(t *testing.T) {
	dir, keys := crashed(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 5))
	reported, harmless := map[string]int{}, map[string]int{}
	for _, e := range entries {
		if e.Name() == "LOCK" {
			continue
		}
		original, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		used := len(strings.TrimRight(string(original), "\x00"))
		if used == 0 {
			continue
		}
		kind := filepath.Ext(e.Name()) + strings.TrimRight(e.Name(), ".0123456789mestvlog")
		for range scaled(10) {
			bit := rnd.IntN(8 * used)
			if reportsFlip(t, dir, e.Name(), original, bit, keys) {
				reported[kind]++
			} else {
				harmless[kind]++
			}
		}
	}
	t.Logf("reported %v, without effect %v", reported, harmless)
	if reported[".sst"] == 0 || reported[".mem"] == 0 {
		t.Error("damage in tables or logs is never reported")
	}
	if harmless[".sst"] > 0 {
		t.Error("damage in a table was not reported")
	}
}

// reportsFlip flips a bit, looks, and puts all back.
func reportsFlip(t *testing.T, dir, name string, original []byte, bit, keys int) bool {
	t.Helper()
	to := copyDir(t, dir)
	original[bit/8] ^= 1 << (bit % 8)
	defer func() { original[bit/8] ^= 1 << (bit % 8) }()
	f, err := os.OpenFile(filepath.Join(to, name), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(original[bit/8:bit/8+1], int64(bit/8))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: to, Logger: quiet})
	if err != nil {
		return true
	}
	inLast := filepath.Ext(name) == ".mem"
	if err := errors.Join(intact(s, keys, inLast), s.Close()); err != nil {
		t.Errorf("bit %d of %s: opened, but: %v", bit, name, err)
	}
	return false
}

// TestManifestLengthDamaged: Badger would take the last record for one cut short, and remove the tables in it.
func TestManifestLengthDamaged(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if err := write(s, store.NewData, "k", make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.opt.Dir, "MANIFEST")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[8+3]++ // the length of the first record, behind the magic
	if err := os.WriteFile(path, b[:], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: s.opt.Dir, Logger: quiet}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestVerify damages a table under a running store.
func TestVerify(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	for i := range 50 {
		if err := write(s, store.NewData, fmt.Sprint(i), loadValue(0, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(s.opt.Dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 5000); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, 5000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify: %v", err)
	}
	<-s.Failed()
	if err := write(s, store.Vital, "k", nil); !errors.Is(err, store.ErrClosed) || !errors.Is(err, ErrDamaged) {
		t.Errorf("Update after damage: %v", err)
	}
}
