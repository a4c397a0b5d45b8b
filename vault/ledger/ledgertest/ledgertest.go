// Package ledgertest is the conformance suite of erasure ledgers: what ledger.Ledger promises, for every implementation to
// pass, also when somebody has been at its lines.
package ledgertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/ledger"
)

// Place is where one ledger may lie. At the beginning none does.
type Place struct {
	Create func(ctx context.Context, o ledger.Options) (ledger.Ledger, error)
	Open   func(ctx context.Context, o ledger.Options) (ledger.Ledger, error)
	// Lines returns the lines as they lie there, header first.
	Lines func(t testing.TB) [][]byte
	// Replace puts other lines there, behind the back of whoever has the ledger open; nil where that cannot be done.
	Replace func(t testing.TB, lines [][]byte)
	// Shared says that several may have the ledger open. Otherwise the second fails with ledger.ErrInUse.
	Shared bool
}

// Tenant is whose ledgers the suite writes.
const Tenant = "acme"

// Signer signs with a key made from its name.
type Signer string

func (s Signer) private() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(s))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Public is the signer's public key.
func (s Signer) Public() ed25519.PublicKey { return s.private().Public().(ed25519.PublicKey) }

// Key implements checkpoint.Signer.
func (s Signer) Key() checkpoint.Key { return checkpoint.Key{Name: string(s), Public: s.Public()} }

// Sign implements checkpoint.Signer.
func (s Signer) Sign(ctx context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(s.private(), msg), ctx.Err()
}

// Options signs with the first signer, and trusts all.
func Options(signers ...Signer) ledger.Options {
	var keys []ed25519.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public())
	}
	return ledger.Options{
		Tenant: Tenant, Signer: signers[0],
		Keys:  func(context.Context) ([]ed25519.PublicKey, error) { return keys, nil },
		Clock: func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC) },
	}
}

// Entry is the nth of endlessly many entries of all kinds.
func Entry(n int) ledger.Entry {
	id := func(i int) kms.ID { sum := sha256.Sum256(fmt.Append(nil, n, i)); return kms.ID(sum[:16]) }
	e := ledger.Entry{Ref: fmt.Sprintf("ers_%d", n), Keys: []kms.ID{id(0)}}
	switch n % 4 {
	case 0:
		e.Kind, e.Subject, e.Keys = ledger.Subject, fmt.Sprintf("sub_%d", n), []kms.ID{id(1), id(0)}
		e.Log = ledger.Position{Origin: "sandyq.example/acme", Size: int64(n + 1), Root: sha256.Sum256([]byte{byte(n)})}
	case 1:
		e.Kind, e.Subject, e.Slices = ledger.Slices, fmt.Sprintf("sub_%d", n), []string{"identity", "documents"}
	case 2:
		e.Kind = ledger.Key
	default:
		e.Kind = ledger.Epoch
	}
	return e
}

// Entries are the entries from the nth up to another.
func Entries(from, until int) (entries []ledger.Entry) {
	for n := from; n < until; n++ {
		entries = append(entries, Entry(n))
	}
	return entries
}

// Run checks an implementation. place returns a new place each time, and cleans up by itself.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Place)
	}{
		{"What is appended is found and read back", readsBack},
		{"A ref is appended once", once},
		{"Invalid entries are refused and nothing is appended", refused},
		{"Appends at the same time all come one after the other", concurrent},
		{"An opened ledger goes on where it ended", reopened},
		{"A ledger is made once, and opened where there is one", made},
		{"Keys that were rotated are trusted, and others are not", rotated},
		{"Marks are held against it", marks},
		{"Scan goes up to the head of its beginning", scanned},
		{"Ended contexts append nothing", ended},
		{"A closed ledger does nothing", closed},
		{"What was done to the lines is found when it is opened", tampered},
		{"What is done to the lines is found while it is open", tamperedAlive},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, place(t)) })
	}
}

const ours Signer = "ours"

// create makes a ledger, with entries in it.
func create(t testing.TB, p Place, entries ...ledger.Entry) ledger.Ledger {
	t.Helper()
	l, err := p.Create(t.Context(), Options(ours))
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() }) // most have closed it before
	if len(entries) > 0 {
		appended(t, l, entries...)
	}
	return l
}

func open(t testing.TB, p Place, signers ...Signer) ledger.Ledger {
	t.Helper()
	l, err := p.Open(t.Context(), Options(signers...))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func shut(t testing.TB, l ledger.Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func appended(t testing.TB, l ledger.Ledger, entries ...ledger.Entry) ledger.Head {
	t.Helper()
	head, err := l.Append(t.Context(), entries...)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return head
}

func headOf(t testing.TB, l ledger.Ledger) ledger.Head {
	t.Helper()
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return head
}

func scan(t testing.TB, l ledger.Ledger, after uint64) (all []ledger.Entry) {
	t.Helper()
	if err := l.Scan(t.Context(), after, func(e ledger.Entry) error { all = append(all, e); return nil }); err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return all
}

// wantEntries checks that got are the entries from a number on, and nothing else.
func wantEntries(t testing.TB, got []ledger.Entry, first uint64, want []ledger.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i, w := range want {
		if w = Written(w, first+uint64(i)); !reflect.DeepEqual(got[i], w) {
			t.Errorf("entry %d = %+v, want %+v", first+uint64(i), got[i], w)
		}
	}
}
