package ledger

import (
	"context"
	"errors"
	"fmt"
)

// What may be wrong with a ledger. The texts are for the operator; docs/ledger.md says more.
var (
	// ErrMissing: there is no ledger where one should be.
	ErrMissing = errors.New("the erasure ledger is missing: mount or restore it where the configuration points, from its newest copy; " +
		"never begin an empty one in its place (docs/ledger.md, \"When it is lost\")")
	// ErrTruncated: entries that were there are not.
	ErrTruncated = errors.New("the erasure ledger is shorter than it was: an older copy lies in its place, or its end was cut off; " +
		"put the newest copy back (docs/ledger.md, \"When it is lost\")")
	// ErrDamaged: a line is not what was written.
	ErrDamaged = errors.New("the erasure ledger is damaged: keep the file as it is, and put an undamaged copy in its place " +
		"(docs/ledger.md, \"When it is damaged\")")
	// ErrForged: a line is not signed by a key of this vault, or the ledger is another one.
	ErrForged = errors.New("the erasure ledger is not this vault's: it was replaced, or holds lines that another key has signed; " +
		"treat it as an incident (docs/ledger.md, \"When it is forged\")")
	// ErrInUse: another process has the ledger open.
	ErrInUse = errors.New("the erasure ledger is in use by another process: stop that one first")
	// ErrFailed: a write or a sync failed, so that nobody knows what the medium holds. It must be opened again.
	ErrFailed = errors.New("writing the erasure ledger failed: see that its disk is well and has room, and start the process again")
	// ErrExists: there is a ledger where one was to be made.
	ErrExists = errors.New("there is an erasure ledger already: it is never replaced")
	// ErrUnavailable: where the ledger lies cannot be reached, or not now. It tells nothing of what the ledger holds; what was to
	// be appended may or may not be there.
	ErrUnavailable = errors.New("the erasure ledger cannot be reached, or not now")
	// ErrClosed: the ledger was closed.
	ErrClosed = errors.New("the erasure ledger is closed")
	// ErrConflict: a ref stands in the ledger for another destruction.
	ErrConflict = errors.New("the erasure ledger holds another destruction under this reference")
	// ErrInvalid: an entry cannot be written as it is.
	ErrInvalid = errors.New("not an entry of the erasure ledger")
	// ErrBehind: a Medium holds more lines than its caller has read. A Book reads them and appends again.
	ErrBehind = errors.New("the erasure ledger has grown meanwhile")
)

// Compare holds a mark, a head that was seen before, against the ledger. It returns nil when the mark is one of its
// positions, ErrTruncated when the ledger ends before it, and ErrForged when the ledger went another way. Its cost does not grow
// with the ledger.
func Compare(ctx context.Context, l Ledger, mark Head) error {
	hash, err := l.At(ctx, mark.Entries)
	if err != nil {
		return fmt.Errorf("ledger: compare with a mark at entry %d: %w", mark.Entries, err)
	}
	if hash != mark.Hash {
		return fmt.Errorf("ledger: compare with a mark at entry %d: another entry stands there: %w", mark.Entries, ErrForged)
	}
	return nil
}
