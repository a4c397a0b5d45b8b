package translog_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

// held is an anchor in memory.
type held struct {
	note []byte
	fail error // of every Keep

	meanwhile func() // happens before the next Keep; nil: nothing
}

func (h *held) Last(context.Context) ([]byte, error) { return h.note, nil }
func (h *held) Keep(_ context.Context, was, note []byte) (bool, error) {
	if first := h.meanwhile; first != nil {
		h.meanwhile = nil
		first()
	}
	if h.fail != nil || !bytes.Equal(h.note, was) {
		return false, h.fail
	}
	h.note = bytes.Clone(note)
	return true, nil
}

// anchored is a world whose log is anchored, with ten entries under a checkpoint.
func anchored(t *testing.T) (*world, *held) {
	w, h := newWorld(t, memory.New()), &held{}
	w.anchor = h
	w.log = w.open(w.store)
	w.commit(10)
	w.flush()
	return w, h
}

// putBack has the world go on from an earlier state of its store, as another process.
func (w *world) putBack(keep func()) {
	w.t.Helper()
	backup := copyOf(w.t, w.store)
	keep()
	w.store = backup
	w.log = w.open(backup)
}

// TestTheAnchorTellsThatAStoreWasPutBack: nothing is signed, succession or checkpoint, until the log is renewed; then it goes on,
// and no two roots are ever signed for one size of one origin.
func TestTheAnchorTellsThatAStoreWasPutBack(t *testing.T) {
	for name, c := range map[string]func(w *world, h *held){
		"by one checkpoint": func(w *world, _ *held) {
			w.putBack(func() { w.commit(1); w.flush() })
		},
		"and has grown beyond the anchor since": func(w *world, _ *held) {
			w.putBack(func() { w.commit(1); w.flush() })
			w.commit(30)
		},
		"to before its last renewal": func(w *world, _ *held) {
			w.putBack(func() { check(w.t, w.log.Renew(w.t.Context(), nil)); w.flush(); w.commit(5); w.flush() })
		},
		"to within its last renewal": func(w *world, _ *held) {
			check(w.t, w.log.Renew(w.t.Context(), nil))
			w.putBack(func() { w.flush(); w.commit(5); w.flush() })
		},
		"to before it had a log": func(w *world, _ *held) {
			w.store = memory.New()
			w.log = w.open(w.store)
		},
		"the anchor is gone":         func(w *world, h *held) { h.note = nil },
		"the anchor is damaged":      func(w *world, h *held) { h.note = h.note[:20] },
		"the anchor is a stranger's": func(w *world, h *held) { h.note = strangers(w.t) },
	} {
		t.Run(name, func(t *testing.T) {
			w, h := anchored(t)
			c(w, h)
			w.commit(20)
			before := len(w.keys.signed)
			for range 2 {
				if _, err := w.log.Flush(t.Context()); !errors.Is(err, translog.ErrRestored) {
					t.Fatalf("Flush: %v", err)
				}
				if err := w.log.Compare(t.Context()); !errors.Is(err, translog.ErrRestored) {
					t.Fatalf("Compare: %v", err)
				}
			}
			if _, err := w.log.RotateKey(t.Context()); !errors.Is(err, translog.ErrRestored) {
				t.Fatalf("RotateKey: %v", err)
			}
			if len(w.keys.signed) != before {
				t.Fatalf("signed: %q", w.keys.signed[before:])
			}
			check(t, w.log.Renew(t.Context(), nil))
			check(t, w.log.Compare(t.Context()))
			for range 3 {
				w.commit(5)
				w.flush()
			}
			w.log = w.open(w.store)
			w.flush()
			if note, err := w.log.Checkpoint(t.Context()); err != nil || !bytes.Equal(note, h.note) {
				t.Errorf("the anchor is not the last checkpoint: %v\n%s\n%s", err, note, h.note)
			}
			w.neverForked()
		})
	}
}

// strangers is the anchor of another log.
func strangers(t testing.TB) []byte {
	w, h := newWorld(t, memory.New()), &held{}
	w.anchor = h
	w.log = w.open(w.store)
	w.commit(3)
	w.flush()
	return h.note
}

// TestWhatACrashLeavesInTheAnchorIsNoRestore: it may be one checkpoint before the store's or one ahead of it, under this origin or
// the one before.
func TestWhatACrashLeavesInTheAnchorIsNoRestore(t *testing.T) {
	w, h := anchored(t)
	earlier := h.note
	w.commit(5)
	w.flush()
	ahead := h.note
	for _, note := range [][]byte{earlier, ahead} {
		h.note = note
		w.log = w.open(w.store)
		w.commit(1)
		w.flush()
	}
	origin, err := w.log.Head(t.Context())
	check(t, err)
	before := h.note
	check(t, w.log.Renew(t.Context(), nil))
	w.log = w.open(w.store) // it fell after the renewal
	w.flush()
	h.note = before // and before the first checkpoint under the new origin was kept
	w.log = w.open(w.store)
	w.commit(1)
	w.flush()
	now, err := w.log.Head(t.Context())
	check(t, err)
	if now.Origin == origin.Origin {
		t.Error("the origin is as before")
	}
	w.neverForked()
}

// TestACheckpointThatIsNotAnchoredIsNotGiven: it is not in the store either, and the log goes on once the anchor is back.
func TestACheckpointThatIsNotAnchoredIsNotGiven(t *testing.T) {
	w, h := anchored(t)
	before, err := w.log.Head(t.Context())
	check(t, err)
	h.fail = errors.New("the disk is full")
	w.commit(5)
	status, err := w.log.Flush(t.Context())
	if !errors.Is(err, translog.ErrAnchor) || status.Size != 15 {
		t.Fatalf("%+v %v", status, err)
	}
	if now, err := w.log.Head(t.Context()); err != nil || now != before {
		t.Errorf("%v %v", now, err)
	}
	h.fail = nil
	w.flush()
	if now, err := w.log.Head(t.Context()); err != nil || now.Size != 15 {
		t.Errorf("%v %v", now, err)
	}
}

// TestWhoWasPausedDoesNotTakeTheAnchorBack: between signing and keeping, while another node went on.
func TestWhoWasPausedDoesNotTakeTheAnchorBack(t *testing.T) {
	for name, goOn := range map[string]func(other *translog.Log){
		"under one origin": func(*translog.Log) {},
		"under another":    func(other *translog.Log) { check(t, other.Renew(t.Context(), nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, h := anchored(t)
			w.commit(5)
			var newest []byte
			h.meanwhile = func() {
				other := w.open(w.store)
				goOn(other)
				w.commit(7)
				_, err := other.Flush(t.Context())
				check(t, err)
				newest = h.note
			}
			w.flush()
			if note, err := w.log.Checkpoint(t.Context()); err != nil || !bytes.Equal(h.note, newest) || !bytes.Equal(note, newest) {
				t.Errorf("the anchor went back: %v\n%s\nfrom\n%s", err, h.note, newest)
			}
			w.neverForked()
		})
	}
}

// living is a store that can be put back under the process that uses it.
type living struct{ store.Store }

// TestAStoreThatIsPutBackAgainIsRenewedAgain: the anchor is as it was when this process renewed the log, and the store is no longer.
func TestAStoreThatIsPutBackAgainIsRenewedAgain(t *testing.T) {
	w, _ := anchored(t)
	backup := copyOf(t, w.store)
	w.commit(5)
	w.flush()
	under := &living{copyOf(t, backup)}
	w.store = under
	w.log = w.open(under)
	if err := w.log.Compare(t.Context()); !errors.Is(err, translog.ErrRestored) {
		t.Fatalf("Compare: %v", err)
	}
	check(t, w.log.Renew(t.Context(), nil))
	under.Store = backup // before the first checkpoint under the new origin was anchored
	w.commit(7)
	if _, err := w.log.Flush(t.Context()); !errors.Is(err, translog.ErrRestored) {
		t.Errorf("Flush: %v", err)
	}
	check(t, w.log.Renew(t.Context(), nil))
	w.flush()
	w.neverForked()
}

// TestACheckpointOfATreeThatIsGoneIsNotPublished: the store was put back between the signing and the publishing, and has grown since.
func TestACheckpointOfATreeThatIsGoneIsNotPublished(t *testing.T) {
	for _, more := range []int{5, 300} { // to the size of the checkpoint, and beyond it
		w, h := anchored(t)
		before, err := w.log.Head(t.Context())
		check(t, err)
		backup := copyOf(t, w.store)
		under := &living{w.store}
		w.store = under
		w.log = w.open(under)
		w.commit(5)
		h.meanwhile = func() {
			under.Store = backup
			w.commit(more)
			w.keys.fail = func() error { return errors.New("the keys are away") }
			if _, err := w.open(backup).Flush(t.Context()); err == nil {
				t.Error("signed without keys")
			}
			w.keys.fail = nil
		}
		if _, err := w.log.Flush(t.Context()); !errors.Is(err, translog.ErrRestored) {
			t.Errorf("Flush, with %d more: %v", more, err)
		}
		if now, err := w.log.Head(t.Context()); err != nil || now != before {
			t.Errorf("published, with %d more: %v %v", more, now, err)
		}
	}
}
