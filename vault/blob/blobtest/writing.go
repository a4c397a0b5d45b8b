package blobtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
)

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
