package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
)

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
		if !ok || info.Partial != partial || info.Modified.IsZero() || !partial && info.Size != 10 {
			t.Errorf("%s: listed %t as %+v, want Partial = %t, a time and its 10 bytes", id, ok, info, partial)
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
