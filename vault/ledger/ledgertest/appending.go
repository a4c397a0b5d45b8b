package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
)

// Written is an entry as it is read back from a number.
func Written(e ledger.Entry, number uint64) ledger.Entry {
	e.Number, e.At = number, time.Date(2026, 11, 22, 12, 0, 0, 123e6, time.UTC)
	e.Keys, e.Slices = slices.Clone(e.Keys), slices.Clone(e.Slices)
	slices.SortFunc(e.Keys, func(a, b kms.ID) int { return bytes.Compare(a[:], b[:]) })
	slices.Sort(e.Slices)
	return e
}

func readsBack(t *testing.T, p Place) {
	l := create(t, p)
	empty := headOf(t, l)
	if empty.Entries != 0 || empty.Hash == [32]byte{} {
		t.Errorf("the head of an empty ledger is %+v, want the hash of its header", empty)
	}
	if got := scan(t, l, 0); len(got) != 0 {
		t.Errorf("an empty ledger has %d entries", len(got))
	}
	heads := []ledger.Head{empty, appended(t, l, Entry(0)), appended(t, l, Entry(1))}
	heads = append(heads, ledger.Head{}, appended(t, l, Entries(2, 4)...))
	if got := headOf(t, l); got != heads[4] || got.Entries != 4 {
		t.Errorf("Head = %+v, and Append said %+v", got, heads[4])
	}
	wantEntries(t, scan(t, l, 0), 1, Entries(0, 4))
	wantEntries(t, scan(t, l, 3), 4, Entries(3, 4))
	for n, head := range heads {
		hash, err := l.At(t.Context(), uint64(n))
		if err != nil || n != 3 && hash != head.Hash {
			t.Errorf("At(%d) = %x, %v; want %x", n, hash, err, head.Hash)
		}
		number, found, err := l.Find(t.Context(), Entry(n).Ref)
		if err != nil || found != (n < 4) || found && number != uint64(n+1) {
			t.Errorf("Find of entry %d = %d, %t, %v", n+1, number, found, err)
		}
	}
}

func once(t *testing.T, p Place) {
	l := create(t, p, Entries(0, 2)...)
	before := headOf(t, l)
	again := Entry(0)
	slices.Reverse(again.Keys) // a set
	again.Log.Size++           // the log has grown meanwhile
	if got := appended(t, l, again, Entry(1)); got != before {
		t.Errorf("repeating entries led to %+v, want %+v", got, before)
	}
	appended(t, l, Entry(1), Entry(2), Entry(0), Entry(2), Entry(3))
	wantEntries(t, scan(t, l, 0), 1, Entries(0, 4))

	for what, change := range map[string]func(*ledger.Entry){
		"kind":    func(e *ledger.Entry) { e.Kind, e.Slices = ledger.Slices, []string{"identity"} },
		"subject": func(e *ledger.Entry) { e.Subject += "x" },
		"keys":    func(e *ledger.Entry) { e.Keys = e.Keys[:1] },
		"slices":  func(e *ledger.Entry) { e.Slices = []string{"identity"} },
	} {
		for _, n := range []int{0, 8} { // one that stands there, one of the same call
			other := Entry(n)
			change(&other)
			if _, err := l.Append(t.Context(), Entry(4), Entry(8), other); !errors.Is(err, ledger.ErrConflict) {
				t.Errorf("Append of another %s under a ref = %v, want ErrConflict", what, err)
			}
		}
	}
	if got := headOf(t, l).Entries; got != 4 {
		t.Errorf("%d entries after conflicts, want 4", got)
	}
}

func refused(t *testing.T, p Place) {
	l := create(t, p)
	for what, change := range map[string]func(*ledger.Entry){
		"no ref":            func(e *ledger.Entry) { e.Ref = "" },
		"ref too long":      func(e *ledger.Entry) { e.Ref = strings.Repeat("r", 256) },
		"ref with a space":  func(e *ledger.Entry) { e.Ref = "a b" },
		"ref with a quote":  func(e *ledger.Entry) { e.Ref = `a"}` },
		"no kind":           func(e *ledger.Entry) { e.Kind = "" },
		"unknown kind":      func(e *ledger.Entry) { e.Kind = "person" },
		"no subject":        func(e *ledger.Entry) { e.Subject = "" },
		"subject not ASCII": func(e *ledger.Entry) { e.Subject = "Айгүл" },
		"no slices":         func(e *ledger.Entry) { e.Kind = ledger.Slices },
		"empty slice":       func(e *ledger.Entry) { e.Slices = []string{""} },
		"key without a key": func(e *ledger.Entry) { e.Kind, e.Keys = ledger.Key, nil },
		"epoch of two keys": func(e *ledger.Entry) { e.Kind, e.Subject = ledger.Epoch, "" },
		"epoch of somebody": func(e *ledger.Entry) { e.Kind, e.Keys = ledger.Epoch, e.Keys[:1] },
		"epoch of slices": func(e *ledger.Entry) {
			e.Kind, e.Subject, e.Keys, e.Slices = ledger.Epoch, "", e.Keys[:1], []string{"identity"}
		},
		"zero key":           func(e *ledger.Entry) { e.Keys = []kms.ID{{}} },
		"log without a name": func(e *ledger.Entry) { e.Log.Origin = "" },
		"log of less than 0": func(e *ledger.Entry) { e.Log.Size = -1 },
		"more than a line":   func(e *ledger.Entry) { e.Keys = manyKeys(40_000) },
	} {
		e := Entry(0)
		change(&e)
		if _, err := l.Append(t.Context(), Entry(1), e); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%s: Append = %v, want ErrInvalid", what, err)
		}
	}
	if got := headOf(t, l).Entries; got != 0 {
		t.Errorf("%d entries, want none", got)
	}
}

func manyKeys(n int) (keys []kms.ID) {
	for i := range n {
		keys = append(keys, kms.ID{1, byte(i >> 8), byte(i)})
	}
	return keys
}

func concurrent(t *testing.T, p Place) {
	const writers, each = 6, 4
	l := create(t, p)
	ledgers := []ledger.Ledger{l}
	if p.Shared {
		ledgers = append(ledgers, open(t, p, ours))
	}
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			l := ledgers[w%len(ledgers)]
			for i := range each {
				head, err := l.Append(t.Context(), Entry(w*each+i), Entry(1000+i)) // the second is everybody's
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				if err := ledger.Compare(t.Context(), l, head); err != nil {
					t.Errorf("the head after an append: %v", err)
				}
			}
		})
	}
	group.Wait()
	if head := headOf(t, l); head.Entries != writers*each+each {
		t.Fatalf("%d entries, want %d", head.Entries, writers*each+each)
	}
	refs := make(map[string]bool)
	for i, e := range scan(t, l, 0) {
		if refs[e.Ref] || e.Number != uint64(i+1) {
			t.Errorf("entry %d has the number %d, and its ref was there: %t", i+1, e.Number, refs[e.Ref])
		}
		refs[e.Ref] = true
	}
}

func ended(t *testing.T, p Place) {
	l := create(t, p, Entry(0))
	before := headOf(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, Entry(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v, want the context's error", err)
	}
	if got := headOf(t, l); got != before {
		t.Errorf("Head = %+v, want %+v", got, before)
	}
	if err := l.Scan(ctx, 0, func(ledger.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan = %v, want the context's error", err)
	}
}
