package file_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/blobtest"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/clock"
)

func open(t testing.TB, path string, floor uint64) *file.Store {
	t.Helper()
	s, err := file.Open(path, floor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return open(t, filepath.Join(t.TempDir(), "blobs"), 1)
	})
}

func write(t testing.TB, s *file.Store, id blob.ID, p []byte) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	return w
}

// Two stores over one directory are what two processes have, or one after a crash.
func TestAnotherStoreSeesWhatWasCommittedAndWhatWasCutShort(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, 0)
	whole, cut := blob.NewID(), blob.NewID()
	if err := write(t, first, whole, []byte("whole")).Commit(); err != nil {
		t.Fatal(err)
	}
	began := clock.System().Add(-time.Minute)
	write(t, first, cut, []byte("cut sh")) // neither committed nor aborted

	second := open(t, dir, 0)
	got := make(map[blob.ID]blob.Info)
	if err := second.List(t.Context(), func(i blob.Info) error { got[i.ID] = i; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[whole].Partial || !got[cut].Partial || got[cut].Modified.Before(began) {
		t.Errorf("List = %+v", got)
	}
	if _, err := second.Open(t.Context(), cut); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open of what was cut short = %v", err)
	}
	if err := second.Remove(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files are left, want 1", n)
	}
}

// files returns the paths of all files under dir.
func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestABlobHasOneWriter(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	id := blob.NewID()
	w := write(t, s, id, []byte("whole"))
	if second, err := s.Create(t.Context(), id); !errors.Is(err, fs.ErrExist) {
		second.Abort()
		t.Errorf("Create of a blob that is being written = %v, want fs.ErrExist", err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), id)
	if err != nil || r.Size() != int64(len("whole")) {
		t.Fatalf("the first writer's blob is not whole (%v)", err)
	}
	r.Close()
}

func TestLayoutAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	s := open(t, dir, 0)
	id := blob.NewID()
	w := write(t, s, id, []byte("x"))
	name := filepath.Join(dir, id.String()[:2], id.String())
	wantMode(t, name+".part", 0o600)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantMode(t, name, 0o600)
	wantMode(t, filepath.Dir(name), 0o700)
	wantMode(t, dir, 0o700)
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files = %v, want one", got)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("mode of %s = %o, want %o", filepath.Base(path), got, want)
	}
}

func TestStrangersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	id := blob.NewID()
	if err := write(t, s, id, nil).Commit(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, id.String()[:2])
	for _, name := range []string{
		"notes", strings.ToUpper(id.String()) + "A", id.String() + ".part.part", id.String()[:31] + "g",
		"zz" + id.String()[2:], ".part",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	misplaced := []byte(id.String())
	misplaced[0] ^= 1 // the name of another folder's blob
	if err := os.WriteFile(filepath.Join(folder, string(misplaced)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.List(t.Context(), func(i blob.Info) error {
		if i.ID != id || i.Partial {
			t.Errorf("listed %+v", i)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, dir)); n != 8 {
		t.Errorf("%d files, want all 8 still there", n)
	}
}

func TestTheFloorRefusesNewBlobsButNotRemoval(t *testing.T) {
	dir := t.TempDir()
	id := blob.NewID()
	if err := write(t, open(t, dir, 0), id, []byte("x")).Commit(); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, math.MaxUint64/2)
	if _, err := s.Create(t.Context(), blob.NewID()); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Create = %v, want ErrNoSpace", err)
	}
	r, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open below the floor: %v", err)
	}
	r.Close()
	if err := s.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove below the floor: %v", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files = %v, want none", got)
	}
}

// A file that cannot be synced must not be committed.
func TestAFailedCommitLeavesNoBlob(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	id := blob.NewID()
	w := write(t, s, id, []byte("x"))
	if err := os.Remove(filepath.Join(dir, id.String()[:2], id.String()+".part")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err == nil {
		t.Fatal("Commit succeeded without a file")
	}
	if _, err := w.Write([]byte("y")); err == nil {
		t.Error("Write after a failed Commit succeeded")
	}
	if _, err := s.Open(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open = %v", err)
	}
}

func BenchmarkWrite20MB(b *testing.B) {
	s := open(b, b.TempDir(), 1<<20)
	p := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	const size = 20_000_000
	b.SetBytes(size)
	for b.Loop() {
		id := blob.NewID()
		w, err := s.Create(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		for left := size; left > 0; left -= len(p) {
			if _, err := w.Write(p[:min(left, len(p))]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
}

// The same bytes written and synced by hand, to compare with.
func BenchmarkBareWrite20MB(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bare")
	p := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	const size = 20_000_000
	b.SetBytes(size)
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		for left := size; left > 0; left -= len(p) {
			if _, err := f.Write(p[:min(left, len(p))]); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(f.Sync(), f.Close(), os.Remove(path)); err != nil {
			b.Fatal(err)
		}
	}
}
