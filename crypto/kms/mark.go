package kms

import (
	"fmt"
)

// Mark says how far the key side has carried out the erasure ledger. A key side that was rolled back says less than the
// ledger, or something else; that is how it is found.
type Mark struct {
	Entries uint64   // of the ledger, from its beginning
	Head    [32]byte // the ledger's head after that many
}

// String is the number of entries and the beginning of the head; neither is a secret.
func (m Mark) String() string { return fmt.Sprintf("%d/%x", m.Entries, m.Head[:4]) }

// Check reports whether a provider whose mark is m may go from from to next: nil when it may, done when next is there
// already, otherwise [ErrClaim].
func (m Mark) Check(from, next Mark) (done bool, err error) {
	switch m {
	case next:
		return true, nil
	case from:
		return false, nil
	}
	return false, fmt.Errorf("%w: the mark is %s, not %s", ErrClaim, m, from)
}
