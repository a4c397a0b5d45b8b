package ledger

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/clock"
)

// Options are what a ledger is opened with.
type Options struct {
	Tenant string            // whose ledger it is
	Signer checkpoint.Signer // the log's key
	// Keys returns the public keys that lines may be signed with: the signer's, and those that it had before. It is asked
	// when a line names a key that it did not return before.
	Keys func(ctx context.Context) ([]ed25519.PublicKey, error)
	// Former are keys that lines may be signed with up to some point; none is needed.
	Former []Former
	Clock  clock.Clock
}

// Former are keys that are not the signer's any more: whoever has them may write lines, and not beyond what was there.
type Former struct {
	Keys    []ed25519.PublicKey
	Through uint64 // the number of the last line that they are trusted for
}

// trust knows the keys that lines may be signed with.
type trust struct {
	keys   func(ctx context.Context) ([]ed25519.PublicKey, error)
	former []Former

	mu    sync.Mutex
	known []ed25519.PublicKey
}

// verify fails with ErrForged when a line is not signed by a key that is trusted.
func (t *trust) verify(ctx context.Context, s Sealed) error {
	trusted, err := t.trusts(ctx, s.key, s.Entry.Number)
	if err != nil {
		return err
	}
	if !trusted {
		return fmt.Errorf("ledger: line %d: signed by an unknown key: %w", s.Entry.Number, ErrForged)
	}
	if !ed25519.Verify(s.key, s.message, s.signature) {
		return fmt.Errorf("ledger: line %d: the signature does not verify: %w", s.Entry.Number, ErrForged)
	}
	return nil
}

// trusts reports whether the line of this number, 0 being the header, may be signed with the key.
func (t *trust) trusts(ctx context.Context, key ed25519.PublicKey, line uint64) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := func(k ed25519.PublicKey) bool { return k.Equal(key) }
	among := func() bool {
		return slices.ContainsFunc(t.known, is) ||
			slices.ContainsFunc(t.former, func(f Former) bool { return line <= f.Through && slices.ContainsFunc(f.Keys, is) })
	}
	if among() {
		return true, nil
	}
	known, err := t.keys(ctx)
	if err != nil {
		return false, fmt.Errorf("ledger: ask for the keys that sign it: %w", err)
	}
	t.known = known
	return among(), nil
}
