package badgerdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

func TestOneProcessAtATime(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	for _, readOnly := range []bool{false, true} {
		_, err := Open(Options{Dir: s.opt.Dir, Logger: quiet, ReadOnly: readOnly})
		if !errors.Is(err, ErrInUse) {
			t.Errorf("read-only %v: %v", readOnly, err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if err := write(s, store.NewData, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	running := copyDir(t, s.opt.Dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := func(s *Store) {
		t.Helper()
		err := s.View(t.Context(), func(r store.Reader) error {
			values, err := r.Get([]byte("k"))
			if string(values[0]) != "v" {
				t.Errorf("reads %q", values[0])
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	first := open(t, Options{Dir: s.opt.Dir, ReadOnly: true})
	second := open(t, Options{Dir: s.opt.Dir, ReadOnly: true})
	want(first)
	want(second)
	if err := write(first, store.Vital, "k", nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Update: %v", err)
	}
	if err := first.Compact(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Compact: %v", err)
	}
	// A copy of the running store opens normally, not read-only.
	if _, err := Open(Options{Dir: running, ReadOnly: true, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "was not closed") {
		t.Errorf("a store that was not closed, read-only: %v", err)
	}
	want(open(t, Options{Dir: running}))
}

func TestPlace(t *testing.T) {
	place := func(dir string) string {
		t.Helper()
		s := open(t, Options{Dir: dir})
		p, err := s.Place()
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "store")
	first := place(dir)
	if again := place(dir); again != first {
		t.Error("another place after a restart")
	}
	if out, err := exec.Command("cp", "-a", dir, dir+".copy").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.Rename(dir, dir+".renamed"); err != nil {
		t.Fatal(err)
	}
	if place(dir+".renamed") != first {
		t.Error("another place after a rename")
	}
	if place(dir+".copy") == first {
		t.Error("a copy has the place of its original")
	}
	if err := os.Rename(dir+".copy", dir); err != nil {
		t.Fatal(err)
	}
	if place(dir) == first {
		t.Error("a copy has the place of its original, under its name")
	}
	dir += ".renamed"
	if out, err := exec.Command("cp", "-a", dir, dir+".backup").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out, err := exec.Command("cp", "-a", dir+".backup/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	restored := place(dir)
	if restored == first {
		t.Error("a backup that was written over its original has its place")
	}
	if err := os.Chmod(filepath.Join(dir, markerName), 0o600); err != nil {
		t.Fatal(err)
	}
	if place(dir) == restored {
		t.Error("the same place after a chmod of the marker")
	}
}

// TestFailureStops fails the store as a commit would, and expects no acknowledgement afterwards.
func TestFailureStops(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	cause := errors.New("the disk is gone")
	err := s.Update(t.Context(), func(w store.Writer) error {
		s.fail(cause) // in the middle of a group
		return w.Set([]byte("k"), nil)
	})
	if !errors.Is(err, store.ErrClosed) || !errors.Is(err, cause) {
		t.Errorf("the Update in the group: %v", err)
	}
	<-s.Failed()
	if err := write(s, store.Vital, "k", nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a later Update: %v", err)
	}
	if err := s.View(t.Context(), func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a later View: %v", err)
	}
	if !errors.Is(s.Err(), cause) {
		t.Errorf("Err: %v", s.Err())
	}
}

// TestGoexitStops: a function that ends the writer's goroutine must not leave others waiting.
func TestGoexitStops(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	err := s.Update(t.Context(), func(store.Writer) error { runtime.Goexit(); return nil })
	if !errors.Is(err, store.ErrClosed) {
		t.Errorf("the Update: %v", err)
	}
	if err := write(s, store.Vital, "k", nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a later Update: %v", err)
	}
}

// TestPickedIsAnswered: a context that ends while f runs does not change the outcome.
func TestPickedIsAnswered(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(w store.Writer) error {
		cancel()
		time.Sleep(10 * time.Millisecond)
		return w.Set([]byte("k"), nil)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCancelledBeforePicked: a context that ends while the Update waits for the writer means that nothing is written.
func TestCancelledBeforePicked(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(t.Context(), func(w store.Writer) error { // holds the writer
		waiting := make(chan error)
		go func() { waiting <- s.Update(ctx, func(w store.Writer) error { return w.Set([]byte("k"), nil) }) }()
		for s.queue.len() == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("the waiting Update: %v", err)
		}
		return nil
	})
	if err := errors.Join(err, write(s, store.NewData, "later", nil)); err != nil {
		t.Fatal(err)
	}
	err = s.View(t.Context(), func(r store.Reader) error {
		values, err := r.Get([]byte("k"))
		if values[0] != nil {
			t.Error("it was written")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

type groups struct{ all []Group }

func (g *groups) Committed(group Group) { g.all = append(g.all, group) }

// TestGroups has Updates wait for one commit, and finds them in as many groups as the caps say.
func TestGroups(t *testing.T) {
	var seen groups
	s := open(t, Options{Dir: t.TempDir(), Observer: &seen})
	var clients sync.WaitGroup
	blocked, unblock := make(chan struct{}), make(chan struct{})
	clients.Go(func() {
		_ = s.Update(t.Context(), func(w store.Writer) error {
			close(blocked)
			<-unblock
			// These fill the group.
			return errors.Join(w.Set([]byte("first"), make([]byte, store.MaxValue)), w.Set([]byte("second"), make([]byte, store.MaxValue)))
		})
	})
	<-blocked
	const waiting, size = 100, 10_000
	for i := range waiting {
		clients.Go(func() {
			if err := write(s, store.NewData, fmt.Sprint(i), make([]byte, size)); err != nil {
				t.Error(err)
			}
		})
	}
	for s.queue.len() < waiting {
		runtime.Gosched()
	}
	close(unblock)
	clients.Wait()
	if err := s.Close(); err != nil { // the last group is observed after its answer
		t.Fatal(err)
	}
	if len(seen.all) != 2+waiting*size/groupBytes {
		t.Errorf("%d groups: %+v", len(seen.all), seen.all)
	}
	updates := 0
	for i, g := range seen.all {
		updates += g.Updates
		if g.Commit <= 0 || i > 0 && g.Bytes > groupBytes+2*size || i > 0 && g.Writes != g.Updates {
			t.Errorf("%+v", g)
		}
	}
	if updates != 1+waiting {
		t.Errorf("%d Updates in groups", updates)
	}
}

func TestLoggerKeepsKeysOut(t *testing.T) {
	var out bytes.Buffer
	var broken error
	b := bridge{log: slog.New(slog.NewTextHandler(&out, nil)), broken: func(err error) { broken = err }}
	b.Errorf("key %q of %d at %s: %v", []byte("secret"), 7, "secret", fmt.Errorf("secret: %w", os.ErrNotExist))
	b.Warningf("%v", badger.ErrInvalidKey)
	b.Infof("secret is the format's own word only, %s", "hidden")
	if got := out.String(); strings.Contains(got, `"secret`) || !strings.Contains(got, "of 7") || strings.Contains(got, "hidden") {
		t.Error(got)
	}
	if broken == nil {
		t.Error("an error of Badger's does not stop the store")
	}
	b.broken = func(error) { t.Error("a warning stops the store") }
	b.Warningf("Block cache might be too small")
}

// TestMendedManifest adds a record of a table that does not exist, as a failed sync of the manifest leaves it.
func TestMendedManifest(t *testing.T) {
	dir, keys := crashed(t)
	path := filepath.Join(dir, badger.ManifestFilename)
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Dir: copyDir(t, dir)}) // makes a table of the log
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := readManifest(s.opt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.records) <= len(m.records) {
		t.Fatal("closing made no table")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, after.records[len(m.records)]...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := intact(open(t, Options{Dir: copyDir(t, dir)}), keys, false); err != nil {
		t.Error(err)
	}
	// Without the log it is damage.
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(Options{Dir: dir, Logger: quiet}); !errors.Is(err, ErrDamaged) {
		t.Errorf("without the log: %v", err)
	}
}
