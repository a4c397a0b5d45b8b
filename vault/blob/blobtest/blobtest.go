// Package blobtest is the conformance suite of blob stores: what blob.Store promises, for every implementation to pass.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
)

// Large is the size in bytes of the large blobs that the suite writes: several of any implementation's buffers, and no
// multiple of them.
const Large = 3<<20 + 17

// Run checks an implementation. open returns a new and empty store each time, and cleans up by itself.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"Committed blobs read back whole", readsBack},
		{"Committed blobs read at any offset from many goroutines", readsAt},
		{"Blobs that are not committed do not exist", uncommitted},
		{"Aborted blobs leave nothing", aborted},
		{"Abort after Commit does nothing", abortAfterCommit},
		{"Blobs are written once", writtenOnce},
		{"Removed blobs are gone and may be removed again", removed},
		{"Blobs removed while written do not come to be", removedWhileWritten},
		{"List tells every blob and its state", listed},
		{"List ends with the error of its function", listEnds},
		{"Many writers at once", manyWriters},
		{"Ended contexts begin nothing", endedContext},
		{"Ended contexts end the writing", endedWhileWriting},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// content returns n bytes that differ by seed.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte{byte(seed), byte(seed >> 8)})).Read(b) // never fails
	return b
}

// begin begins a blob and writes to it in uneven pieces.
func begin(t *testing.T, s blob.Store, id blob.ID, p []byte) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), id)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), 1+len(p)/3)
		if m, err := w.Write(rest[:n]); err != nil || m != n {
			t.Fatalf("Write = %d, %v; want %d", m, err, n)
		}
		rest = rest[n:]
	}
	return w
}

// put writes and commits a blob.
func put(t *testing.T, s blob.Store, p []byte) blob.ID {
	t.Helper()
	id := blob.NewID()
	w := begin(t, s, id, p)
	defer w.Abort()
	if err := w.Commit(); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return id
}

// wantContent checks that a blob is there and is p.
func wantContent(t *testing.T, s blob.Store, id blob.ID, p []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer r.Close()
	if r.Size() != int64(len(p)) {
		t.Errorf("Size = %d, want %d", r.Size(), len(p))
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, p) {
		t.Errorf("read %d bytes, %v; want the %d written", len(got), err, len(p))
	}
}

// wantAbsent checks that a blob cannot be opened.
func wantAbsent(t *testing.T, s blob.Store, id blob.ID) {
	t.Helper()
	r, err := s.Open(t.Context(), id)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open = %v, want ErrNotFound", err)
	}
}

// list returns what List tells, by id.
func list(t *testing.T, s blob.Store) map[blob.ID]blob.Info {
	t.Helper()
	all := make(map[blob.ID]blob.Info)
	if err := s.List(t.Context(), func(i blob.Info) error {
		if _, twice := all[i.ID]; twice {
			t.Errorf("%s listed twice", i.ID)
		}
		all[i.ID] = i
		return nil
	}); err != nil {
		t.Fatalf("List: %v", err)
	}
	return all
}

func readsBack(t *testing.T, s blob.Store) {
	for i, n := range []int{0, 1, 4096, Large} {
		p := content(uint64(i), n)
		wantContent(t, s, put(t, s, p), p)
	}
}

func readsAt(t *testing.T, s blob.Store) {
	p := content(1, Large)
	r, err := s.Open(t.Context(), put(t, s, p))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var readers sync.WaitGroup
	for g := range 8 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 50 {
				off := random.IntN(len(p))
				buf := make([]byte, 1+random.IntN(min(64<<10, len(p)-off)))
				if n, err := r.ReadAt(buf, int64(off)); n != len(buf) || err != nil && err != io.EOF || !bytes.Equal(buf, p[off:off+n]) {
					t.Errorf("ReadAt(%d bytes, %d) = %d, %v", len(buf), off, n, err)
					return
				}
			}
		})
	}
	readers.Wait()
	if n, err := r.ReadAt(make([]byte, 8), int64(len(p)-3)); n != 3 || err != io.EOF {
		t.Errorf("ReadAt over the end = %d, %v; want 3, EOF", n, err)
	}
}

func uncommitted(t *testing.T, s blob.Store) {
	id := blob.NewID()
	w := begin(t, s, id, content(1, 1000))
	defer w.Abort()
	wantAbsent(t, s, id)
}

func aborted(t *testing.T, s blob.Store) {
	id := blob.NewID()
	w := begin(t, s, id, content(1, 1000))
	w.Abort()
	w.Abort()
	wantAbsent(t, s, id)
	if got := list(t, s); len(got) != 0 {
		t.Errorf("List = %v after Abort, want nothing", got)
	}
	if err := w.Commit(); err == nil {
		t.Error("Commit after Abort succeeded")
	}
	wantAbsent(t, s, id)
}

func abortAfterCommit(t *testing.T, s blob.Store) {
	id, p := blob.NewID(), content(1, 1000)
	w := begin(t, s, id, p)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := w.Write(p); err == nil {
		t.Error("Write after Commit succeeded")
	}
	wantContent(t, s, id, p)
}

func writtenOnce(t *testing.T, s blob.Store) {
	p := content(1, 1000)
	id := put(t, s, p)
	if w, err := s.Create(t.Context(), id); err == nil {
		if _, err = w.Write(content(2, 10)); err == nil {
			err = w.Commit()
		}
		w.Abort()
		if err == nil {
			t.Error("a committed blob was written again")
		}
	}
	wantContent(t, s, id, p)
}

func removed(t *testing.T, s blob.Store) {
	p := content(1, 1000)
	kept, id := put(t, s, p), put(t, s, p)
	for range 2 {
		if err := s.Remove(t.Context(), id); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		wantAbsent(t, s, id)
	}
	if err := s.Remove(t.Context(), blob.NewID()); err != nil {
		t.Errorf("Remove of what never was: %v", err)
	}
	wantContent(t, s, kept, p)
	if got := list(t, s); len(got) != 1 {
		t.Errorf("List = %v, want the one that was kept", got)
	}
}

func removedWhileWritten(t *testing.T, s blob.Store) {
	id := blob.NewID()
	w := begin(t, s, id, content(1, 1000))
	if err := s.Remove(t.Context(), id); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if err := w.Commit(); err == nil {
		t.Error("Commit of a removed blob succeeded")
	}
	w.Abort()
	wantAbsent(t, s, id)
	if got := list(t, s); len(got) != 0 {
		t.Errorf("List = %v, want nothing", got)
	}
}

func listed(t *testing.T, s blob.Store) {
	want := make(map[blob.ID]bool)
	for range 20 {
		want[put(t, s, content(1, 10))] = false
	}
	part := blob.NewID()
	w := begin(t, s, part, content(1, 10))
	defer w.Abort()
	want[part] = true

	got := list(t, s)
	if len(got) != len(want) {
		t.Errorf("%d listed, want %d", len(got), len(want))
	}
	for id, partial := range want {
		info, ok := got[id]
		if !ok || info.Partial != partial || info.Modified.IsZero() {
			t.Errorf("%s: listed %t as %+v, want Partial = %t and a time", id, ok, info, partial)
		}
	}
}

func listEnds(t *testing.T, s blob.Store) {
	for range 3 {
		put(t, s, nil)
	}
	enough, calls := errors.New("enough"), 0
	err := s.List(t.Context(), func(blob.Info) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("List = %v after %d calls, want the function's error after 1", err, calls)
	}
}

func manyWriters(t *testing.T, s blob.Store) {
	const writers, each = 8, 5
	ids := make([][each]blob.ID, writers)
	var group sync.WaitGroup
	for g := range writers {
		group.Go(func() {
			for i := range each {
				ids[g][i] = blob.NewID()
				w, err := s.Create(t.Context(), ids[g][i])
				if err != nil {
					t.Error(err)
					return
				}
				_, err = w.Write(content(uint64(g*each+i), 70_000))
				if err = errors.Join(err, w.Commit()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	for g := range writers {
		for i, id := range ids[g] {
			wantContent(t, s, id, content(uint64(g*each+i), 70_000))
		}
	}
}

func endedContext(t *testing.T, s blob.Store) {
	id := put(t, s, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := s.Create(ctx, blob.NewID()); err == nil {
		w.Abort()
		t.Error("Create went on")
	}
	if r, err := s.Open(ctx, id); err == nil {
		r.Close()
		t.Error("Open went on")
	}
	if err := s.Remove(ctx, id); err == nil {
		t.Error("Remove went on")
	}
	if err := s.List(ctx, func(blob.Info) error { return nil }); err == nil {
		t.Error("List went on")
	}
	wantContent(t, s, id, nil)
}

func endedWhileWriting(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	id := blob.NewID()
	w, err := s.Create(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = w.Write(content(1, Large))
	if err == nil {
		err = w.Commit()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("writing on = %v, want context.Canceled", err)
	}
	w.Abort()
	wantAbsent(t, s, id)
}
