package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// maintained opens a store that had a row, which was deleted, and returns it with what is looked for in its files.
func maintained(t *testing.T) (s *badgerdb.Store, dir string, row []byte) {
	t.Helper()
	dir, row = t.TempDir(), bytes.Repeat([]byte("a row that was deleted "), 1000)
	s, err := badgerdb.Open(badgerdb.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // of a store that failed it is an error
	put := func(f func(store.Writer) error) {
		t.Helper()
		if err := s.Update(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	put(func(w store.Writer) error { return w.Set([]byte("kept"), bytes.Repeat([]byte("kept "), 1000)) })
	put(func(w store.Writer) error { return w.Set([]byte("deleted"), row) })
	put(func(w store.Writer) error { return w.Delete([]byte("deleted")) })
	return s, dir, row
}

// holds tells whether the bytes are in a file of dir.
func holds(t *testing.T, dir string, what []byte) bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // compacted away
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, what) {
			return true
		}
	}
	return false
}

// TestMaintenanceCompacts: what was deleted goes by itself.
func TestMaintenanceCompacts(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, dir, row := maintained(t)
	defer s.Close()
	if !holds(t, dir, row) {
		t.Fatal("the row is gone before: the test has no teeth")
	}
	m := startMaintenance(t.Context(), s, slog.New(slog.DiscardHandler), 10*time.Millisecond, 10*time.Millisecond)
	defer m.Close()
	waitUntil(t, func() bool { return !holds(t, dir, row) })
}

// TestMaintenanceFindsDamage: a table that goes bad under a running server stops the store, before it is compacted.
func TestMaintenanceFindsDamage(t *testing.T) {
	s, dir, _ := maintained(t)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("damage"), 1000)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := startMaintenance(t.Context(), s, slog.New(slog.NewTextHandler(&log, nil)), 10*time.Millisecond, 10*time.Millisecond)
	select {
	case <-s.Failed():
	case <-time.After(10 * time.Second):
		t.Error("the store goes on")
	}
	m.ended.Wait() // by itself
	if !errors.Is(s.Err(), badgerdb.ErrDamaged) {
		t.Errorf("stopped by %v", s.Err())
	}
	if said := log.String(); !strings.Contains(said, filepath.Base(tables[0])) || !strings.Contains(said, "docs/operations.md") {
		t.Errorf("the log says %q", said)
	}
	m.Close()
}

// TestMaintenanceEnds with the context of its node.
func TestMaintenanceEnds(t *testing.T) {
	s, _, _ := maintained(t)
	ctx, cancel := context.WithCancel(t.Context())
	m := startMaintenance(ctx, s, slog.New(slog.DiscardHandler), maintainFirst, maintainEvery)
	cancel()
	m.ended.Wait()
	m.Close()
}
