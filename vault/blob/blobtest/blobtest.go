// Package blobtest is the conformance suite of blob stores: what blob.Store promises, for every implementation to pass.
package blobtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
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
