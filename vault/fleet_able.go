package vault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sandyq/sandyq/vault/ledger"
)

// task is something a leader has to be able to do.
type task int

const (
	reaching   task = iota // the keys and the erasure ledger; every node tries it at every sweep
	listing                // writing to the erasure ledger, which only a leader does
	anchoring              // keeping the log's checkpoints, which only a leader does
	destroying             // keys, for which a node may have a login of its own; likewise
	tasks
)

func (t task) String() string {
	return [tasks]string{"reach the keys or the erasure ledger", "write to the erasure ledger", "keep the anchor of the log", "destroy keys"}[t]
}

// untriedTerms is for how many terms a node that could not do something is taken for one that still cannot.
const untriedTerms = 100

// failing is a task that failed the last time it was tried.
type failing struct{ since, last time.Time }

// abilities is what this node could not do when it last tried. What was not tried for untriedTerms counts no more: who does not lead
// cannot find out otherwise that it could again. One that has failed at nothing can do everything.
type abilities struct {
	term   time.Duration
	mu     sync.Mutex
	failed [tasks]failing // zero: it went well
}

// note notes how a task went. What failed only since keys or ledger were out of reach may go well now that they are not.
func (a *abilities) note(t task, able bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch f := &a.failed[t]; {
	case able && t == reaching && !f.last.IsZero():
		away := f.since.Add(-2 * a.term) // an append may have found it before the sweep did
		for i, other := range a.failed {
			if !other.since.Before(away) {
				a.failed[i] = failing{}
			}
		}
	case able:
		*f = failing{}
	case now.Sub(f.last) >= untriedTerms*a.term:
		*f = failing{now, now}
	default:
		f.last = now
	}
}

// lacks returns what has failed for longest, and how long that was from the first try to the last; false when all goes well.
func (a *abilities) lacks(now time.Time) (worst task, long time.Duration, lacks bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for t, f := range a.failed {
		if l := f.last.Sub(f.since); now.Sub(f.last) < untriedTerms*a.term && (!lacks || l > long) {
			worst, long, lacks = task(t), l, true
		}
	}
	return worst, long, lacks
}

// can notes how a task went.
func (f *fleet) can(t task, able bool) { f.able.note(t, able, f.service.Clock()) }

// canList notes by what an append came to whether this node can write to the ledger. What is wrong with the entries, or with a
// caller that went away, tells nothing of that.
func (f *fleet) canList(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, ledger.ErrConflict) && !errors.Is(err, ledger.ErrInvalid) {
		f.can(listing, err == nil)
	}
}

// lacks is what this node cannot do of a leader's work, and for how long it has tried.
func (f *fleet) lacks() (task, time.Duration, bool) { return f.able.lacks(f.service.Clock()) }
