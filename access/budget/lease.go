package budget

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// slot is what a node knows of one account. Owned by Meter.mu.
type slot struct {
	start   int64  // of the window, in Unix seconds
	left    int64  // leased and not spent
	spent   int64  // of what was leased
	full    bool   // the ledger has no more within the limit
	told    bool   // that it is exceeded
	waiting int64  // units that calls need which hold shares
	lease   *lease // under way; may be of an earlier window
}

// roll begins the window that starts at start, unless the slot is in it.
func (s *slot) roll(start int64) {
	if s.start != start {
		*s = slot{start: start, waiting: s.waiting, lease: s.lease}
	}
}

// lease is one call of the ledger. At most one is under way for a slot: whoever comes meanwhile waits for it.
type lease struct {
	slot    *slot
	account Account
	want    int64
	limit   int64
	done    chan struct{} // closed at the end
	err     error         // for those who wait; set before done is closed
}

// share is a call's share in a lease, held until the call looks at the slot again.
type share struct {
	*lease
	mine  bool // the call makes the lease; others wait for it
	units int64
}

// aheadOf is how small a part of the limit is leased ahead at most.
const aheadOf = 20

// join gives a need a share in the lease under way, or begins one, for all whose shares in an earlier one brought nothing.
func (n *need) join() share {
	n.waiting += n.units
	if n.lease != nil {
		return share{lease: n.lease, units: n.units}
	}
	l := &lease{slot: n.slot, account: n.bound.account(n.system, n.start), limit: n.bound.max, done: make(chan struct{})}
	ahead := n.spent / 2
	if n.full {
		l.limit = 0 // the call goes on, or it would have been refused: beyond the limit it is only counted
	} else {
		ahead = min(ahead, n.bound.max/aheadOf)
	}
	l.want = n.waiting - n.left + ahead
	n.lease = l
	return share{lease: l, mine: true, units: n.units}
}

// leave gives shares back.
func leave(shares []share) {
	for _, s := range shares {
		s.slot.waiting -= s.units
	}
}

// await makes the leases that are the call's own, all at once, then waits for the others. The error is the first of the
// ledger's, or the context's.
func (m *Meter) await(ctx context.Context, shares []share) error {
	errs := make([]error, len(shares))
	var taking sync.WaitGroup
	for i, s := range shares[1:] {
		if s.mine {
			taking.Go(func() { errs[i+1] = m.take(ctx, s.lease) })
		}
	}
	if shares[0].mine {
		errs[0] = m.take(ctx, shares[0].lease)
	}
	taking.Wait()
	for i, s := range shares {
		if !s.mine {
			errs[i] = s.wait(ctx)
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// wait waits for a lease that another call makes. When it ended because that call did, there is no error: ask again.
func (l *lease) wait(ctx context.Context) error {
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take makes a lease.
func (m *Meter) take(ctx context.Context, l *lease) error {
	got, err := int64(0), errors.New("it did not answer")
	defer func() { m.settle(ctx, l, got, err) }() // also when the ledger panics, or all others would wait for ever
	got, err = m.ledger.Take(ctx, l.account, l.want, l.limit)
	if err == nil && (got < 0 || got > l.want || l.limit == 0 && got != l.want) {
		got, err = 0, fmt.Errorf("it gave %d units when %d were wanted", got, l.want)
	}
	if err != nil {
		err = fmt.Errorf("budget: lease from the ledger for %s: %w", l.account.Limit, err)
	}
	return err
}

// settle ends a lease. What it got for a window that has passed meanwhile is dropped.
func (m *Meter) settle(ctx context.Context, l *lease, got int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := l.slot
	s.lease = nil
	switch {
	case err != nil:
		if ctx.Err() == nil {
			l.err = err
		}
	case s.start == l.account.Start.Unix():
		s.left += got
		if got < l.want {
			s.full = true
		}
	}
	close(l.done)
}
