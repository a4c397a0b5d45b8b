// Package translog makes a transparency log of the audit log: an RFC 6962 Merkle tree over its entries, whose head is signed,
// so that nobody, the operator included, can alter, drop or insert an entry later without it showing.
//
// # Model
//
// Entries stay where they are, in rows of their own, written in the Update of their effect. That Update also writes one
// staging row with the [Leaf] of each of its entries ([Leaf.Append]). A pass ([Log.Flush]) takes staging rows in the order of
// their keys, appends their leaves to the tree, and in one Update removes them and writes what the tree gained. So an entry is
// in the tree exactly once, whatever fails and however often: until that Update it is staged, after it it is not.
//
// # Rows
//
// Under Options.Prefix, by the byte that follows it:
//
//	s  id of an Update's first entry → the leaves of the Update
//	t  level (1 byte), index (8) → a tile: up to 256 hashes; that at the right edge grows
//	i  index (8) → the ids of up to 256 entries, in the order of the tree
//	p  id → index (8), of entries whose proof will be asked for
//	S  → stateRow: origin, size and root of the tree, and the keys that sign
//	H  → headRow: the last checkpoint
//	n  number (8) → a succession, signed
//	P  → how many leading bundles of entries were pruned (8)
//
// # Invariants
//
//   - Every Update that changes the tree expects the state row as it was read. Two nodes that sequence at once, or one that
//     was paused, cannot both: the later writes nothing. There is one tree a store.
//   - A checkpoint is signed only of a tree that is durable, and its row only ever grows under one origin. The root at a size
//     is settled by the tree, so no two roots are signed for one size of one origin, whoever signs.
//   - A store that was put back to an earlier state would sign other trees for the same sizes. So it gets another origin before
//     anything is signed: [Log.Renew] draws it, and nothing is signed under the old one any more but the succession that
//     names the new. A copy that is not the live store must not be flushed at all, which is the caller's to see to.
//   - That a store was put back shows by the [Anchor], which is not put back with it: every checkpoint is durable there before
//     anybody gets it, and before anything is signed the tree must be one that the anchor's is the beginning of
//     ([ErrRestored]). That holds for whom the anchor is the only one; of nodes with an anchor each, one that lies behind sees less.
//   - With a quorum of witnesses, a checkpoint is signed and anchored, and published only when so many [Witnesses] have cosigned it: until
//     then nobody but they get it, and the one before stays the last. Without one, it is published at once, and cosignatures are added
//     as they come. Nothing is signed while a witness says that it has cosigned what is not in the tree ([ErrWitness]).
//   - A checkpoint becomes the last one only in a store whose tree it is the beginning of, whatever came between that and its signing.
//
// The package starts no goroutine.
package translog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
)

// Rows tells where entries are kept.
type Rows interface {
	// Entry is the key of an entry's row.
	Entry(audit.ID) []byte
	// Beside is the keys of the rows that point at an entry and go with it.
	Beside(id audit.ID, entry []byte) ([][]byte, error)
}

// Options are what a Log is made of. All but Overlap, Anchor, Witnesses and Quorum are required.
type Options struct {
	Store  store.Store
	Prefix []byte // of all the log's rows
	Rows   Rows
	Keys   kms.Signer
	Clock  clock.Clock

	// Origin begins every origin of the log; a random instance follows. It has no spaces, plus signs and control characters.
	Origin string
	// Anchor keeps the last checkpoint outside the store. Without one, that the store was put back is the caller's to know.
	Anchor Anchor
	// Witnesses cosign checkpoints; nil: none do. They are this Log's alone.
	Witnesses Witnesses
	// Quorum is how many of them must have cosigned a checkpoint before it is published.
	Quorum int
	// Overlap is for how long a key that was rotated goes on signing beside the new one. Default 30 days.
	Overlap time.Duration
}

// Errors of the log. Others are the store's, or the key provider's.
var (
	// ErrUnknown: there is no entry of this id whose proof can be given.
	ErrUnknown = errors.New("translog: no such entry")
	// ErrAbsent: the log has no such tile or size yet, or what it held was pruned.
	ErrAbsent = errors.New("translog: not in the log")
	// ErrDamaged: rows of the log contradict each other. Nothing is added to it and nothing signed.
	ErrDamaged = errors.New("translog: the log in the store is damaged")
)

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrDamaged, what) }

// Log is the transparency log of one tenant. It is safe for concurrent use.
type Log struct {
	Options
	turn chan struct{} // holds one while a pass runs; guards what follows

	known   *frontier // the tree as this Log left it; nil when it is not known to be so
	durable []byte    // the last state row whose Update was acknowledged to this Log
	oldest  audit.ID  // where the next pass begins to look for staging rows
	lookAll time.Time // when it looks at all of them again

	offered *offer // the checkpoint that witnesses are to cosign; nil when it is not known yet which

	outdone atomic.Pointer[renewal] // the last by this Log
}

var originPattern = regexp.MustCompile(`^[!-*,-~]{1,200}$`)

// New returns the log. It reads nothing: a log that was not begun yet begins at the first Flush.
func New(o Options) (*Log, error) {
	if o.Store == nil || len(o.Prefix) == 0 || o.Rows == nil || o.Keys == nil || o.Clock == nil {
		return nil, errors.New("translog: Store, Prefix, Rows, Keys and Clock are required")
	}
	if !originPattern.MatchString(o.Origin) {
		return nil, errors.New("translog: an origin is up to 200 printable ASCII characters without spaces and plus signs")
	}
	if o.Quorum < 0 || o.Quorum > 0 && o.Witnesses == nil {
		return nil, errors.New("translog: a quorum is of witnesses")
	}
	if o.Overlap == 0 {
		o.Overlap = 30 * 24 * time.Hour
	}
	return &Log{Options: o, turn: make(chan struct{}, 1)}, nil
}

// take waits for the turn.
func (l *Log) take(ctx context.Context) (end func(), err error) {
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Status is how a pass left the log.
type Status struct {
	Size    int64         // entries in the tree
	Signed  time.Time     // when the last checkpoint was signed; zero when none was
	Waiting time.Duration // age of the oldest entry that is not yet covered by a checkpoint; 0 when all are
	Held    bool          // a checkpoint is signed and waits for its quorum of witnesses
}

// Flush has every entry that was committed before the call in the tree, and the tree signed. It looks at little when there
// is nothing to do. The Status holds as far as it is known, also with an error.
func (l *Log) Flush(ctx context.Context) (Status, error) { return l.flush(ctx, false) }

func (l *Log) flush(ctx context.Context, all bool) (Status, error) {
	end, err := l.take(ctx)
	if err != nil {
		return Status{}, err
	}
	defer end()
	began := l.Clock()
	if until := l.lookAll.Sub(began); all || until <= 0 || until > lookAllEvery { // a clock that was ahead may have been set back
		l.oldest = audit.ID{}
	}
	err = l.sequence(ctx)
	if err == nil {
		if l.oldest == (audit.ID{}) {
			l.lookAll = began.Add(lookAllEvery)
		}
		// What is committed later than this after its id was drawn is found when all are looked at.
		l.oldest = audit.FirstID(began.Add(-late))
		err = l.sign(ctx)
	}
	status, lost := l.status(ctx)
	status.Held = l.offered != nil && !l.offered.published
	return status, errors.Join(err, lost)
}

// Staging rows come in the order of the entries' times, more or less. To pass over the remains of those that were taken,
// a pass begins a little before the last; and now and then it looks at all.
const (
	late         = 2 * time.Minute
	lookAllEvery = time.Minute
)
