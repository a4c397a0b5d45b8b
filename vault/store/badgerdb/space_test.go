package badgerdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/store"
)

// write puts one value with an urgency.
func write(s *Store, u store.Urgency, key string, value []byte) error {
	return s.Update(store.With(context.Background(), u), func(w store.Writer) error { return w.Set([]byte(key), value) })
}

func TestSpaceIsRefusedByUrgency(t *testing.T) {
	var free atomic.Int64
	s := open(t, Options{
		Dir:     t.TempDir(),
		Free:    func(string) (int64, error) { return free.Load(), nil },
		Reserve: Reserve{NewData: 300 << 20, Reading: 200 << 20, Vital: 100 << 20},
	})
	if err := write(s, store.Vital, "first", nil); !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("on a full disk: %v", err)
	}
	logs, err := findLogs(s.opt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	size, err := logs.size()
	if err != nil {
		t.Fatal(err)
	}
	need := size + background(s.db.Levels())
	for _, c := range []struct {
		free    int64
		refused map[store.Urgency]bool
	}{
		{need + 301<<20, nil}, // a MiB more, for what the writes of this test take
		{need + 300<<20 - 1, map[store.Urgency]bool{store.NewData: true}},
		{need + 200<<20 - 1, map[store.Urgency]bool{store.NewData: true, store.Reading: true}},
		{need + 100<<20 - 1, map[store.Urgency]bool{store.NewData: true, store.Reading: true, store.Vital: true}},
	} {
		free.Store(c.free)
		for u := store.NewData; u <= store.Vital; u++ {
			err := write(s, u, "k", nil)
			if c.refused[u] != errors.Is(err, store.ErrNoSpace) || !c.refused[u] && err != nil {
				t.Errorf("%d free, urgency %d: %v", c.free, u, err)
			}
		}
	}
	if err := s.Update(context.Background(), func(w store.Writer) error { _, err := w.Get([]byte("k")); return err }); err != nil {
		t.Errorf("an Update that only reads, on a full disk: %v", err)
	}
	if err := s.Compact(t.Context()); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Compact on a full disk: %v", err)
	}
}

func TestSpaceThatCannotBeMeasuredIsNone(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Free: func(string) (int64, error) { return 0, errors.New("no such device") }})
	if err := write(s, store.Vital, "k", nil); !errors.Is(err, store.ErrNoSpace) {
		t.Error(err)
	}
}

func TestSpaceForCompaction(t *testing.T) {
	level := func(n int, size, file int64, base bool) badger.LevelInfo {
		return badger.LevelInfo{Level: n, Size: size << 20, TargetFileSize: file << 20, IsBaseLevel: base}
	}
	for _, c := range []struct {
		levels []badger.LevelInfo
		want   int64 // MiB beyond a memtable
	}{
		{[]badger.LevelInfo{level(0, 0, 0, false), level(1, 0, 2, true)}, 0},
		{[]badger.LevelInfo{level(0, 96, 0, false), level(1, 50, 2, true)}, 146},
		{[]badger.LevelInfo{level(0, 96, 0, false), level(1, 10, 2, true), level(2, 5, 4, false)}, 106 + 15},
		{[]badger.LevelInfo{level(0, 96, 0, false), level(1, 10, 2, true), level(2, 900, 4, false)}, 106 + 44},
	} {
		if got := background(c.levels) >> 20; got != memTable>>20+c.want {
			t.Errorf("%+v: %d MiB, want %d", c.levels, got, memTable>>20+c.want)
		}
	}
}

// fillUntil grows a file until so many bytes are free.
func fillUntil(t *testing.T, path string, free int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now, err := freeSpace(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, now-free); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk fills a real disk: new data is refused first, then what reads write, then even blocks; nothing is lost,
// and when the disk grows all goes on.
func TestFullDisk(t *testing.T) {
	d := newDisk(t, 1000)
	ballast := filepath.Join(d.dir, "ballast")
	fillUntil(t, ballast, 400<<20)
	dir := filepath.Join(d.dir, "store")
	s := open(t, Options{Dir: dir})
	written := map[string]int{}
	// fill writes values of a size until the urgency is refused, and returns how many.
	fill := func(u store.Urgency, size, atMost int) (n int) {
		for ; n < atMost; n++ {
			key := fmt.Sprintf("%d/%d/%d", u, len(written), n)
			err := write(s, u, key, make([]byte, size))
			if errors.Is(err, store.ErrNoSpace) {
				break
			}
			if err != nil {
				t.Fatalf("urgency %d, after %d: %v", u, n, err)
			}
			written[key] = size
		}
		return n
	}
	newData := fill(store.NewData, 100_000, 10_000)
	reading := fill(store.Reading, 50_000, 100_000)
	vital := fill(store.Vital, 1000, 2000)
	t.Logf("refused after %d new data, %d entries of reads; %d blocks went through", newData, reading, vital)
	if newData == 10_000 || newData < 300 || reading < 100 || vital < 2000 {
		t.Error("too early or too late")
	}
	check := func() {
		t.Helper()
		err := s.View(context.Background(), func(r store.Reader) error {
			for key, size := range written {
				values, err := r.Get([]byte(key))
				if err != nil || len(values[0]) != size {
					return fmt.Errorf("key %s: %d bytes: %w", key, len(values[0]), err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	check()
	if err := s.Close(); err != nil { // flushes the memtable
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	check()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if n := fill(store.NewData, 100_000, 500); n < 500 {
		t.Errorf("after the disk grew, refused after %d", n)
	}
	check()
}
