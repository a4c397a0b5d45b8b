package vault

import (
	"context"
	"errors"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
)

const metaLedger = "ledger"

// markRow is how far the store has carried out the erasure ledger: everything up to there is unreadable in it. Entries 0
// pins which ledger it is.
type markRow struct {
	Entries uint64   `cbor:"1,keyasint"`
	Head    [32]byte `cbor:"2,keyasint"`
	// Rebuilt says that this ledger took the place of one that was lost: a key side that was rolled back to before that holds a mark
	// in the lost one.
	Rebuilt bool `cbor:"3,keyasint,omitempty"`
}

func (m *markRow) mark() kms.Mark {
	if m == nil {
		return kms.Mark{}
	}
	return kms.Mark{Entries: m.Entries, Head: m.Head}
}

func markOf(h ledger.Head) kms.Mark { return kms.Mark{Entries: h.Entries, Head: h.Hash} }

// within refuses a ledger in which the store's mark or the keys' does not lie, and returns what the keys' counts for: nothing
// when it lies in the ledger that was lost.
func (m *markRow) within(ctx context.Context, l ledger.Ledger, theirs kms.Mark) (kms.Mark, error) {
	if err := contains(ctx, l, m.mark()); err != nil {
		return kms.Mark{}, err
	}
	err := contains(ctx, l, theirs)
	if m != nil && m.Rebuilt && foreign(err) {
		return kms.Mark{}, nil
	}
	return theirs, err
}

// contains refuses a ledger in which a mark does not lie: it ends before what was carried out, or is another.
func contains(ctx context.Context, l ledger.Ledger, m kms.Mark) error {
	if m == (kms.Mark{}) {
		return nil
	}
	return ledger.Compare(ctx, l, ledger.Head{Entries: m.Entries, Hash: m.Head})
}

// foreign reports whether an error of contains says that the mark lies in no such ledger, and not that nobody could look.
func foreign(err error) bool {
	return errors.Is(err, ledger.ErrForged) || errors.Is(err, ledger.ErrTruncated)
}
