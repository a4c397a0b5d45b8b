package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access/budget"
)

var errAway = errors.New("the store is away")

// ledger keeps accounts in memory, and is harsher than a store: it fails before and after it has taken, takes twice and
// answers once, and answers late.
type ledger struct {
	mu     sync.Mutex
	taken  map[budget.Account]int64
	calls  int
	faults float64 // the part of the calls that one of these befalls
	random *rand.Rand
	slow   time.Duration // the most that an answer takes
}

func newLedger() *ledger {
	return &ledger{taken: map[budget.Account]int64{}, random: rand.New(rand.NewPCG(1, 2))}
}

func (l *ledger) Take(ctx context.Context, a budget.Account, want, limit int64) (int64, error) {
	if want <= 0 || limit < 0 {
		panic("a lease of nothing")
	}
	if err := l.delay(ctx); err != nil {
		return 0, err
	}
	got, err := l.take(a, want, limit)
	if err := l.delay(ctx); err != nil {
		return 0, err
	}
	return got, err
}

func (l *ledger) take(a budget.Account, want, limit int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	faulty := l.random.Float64() < l.faults
	kind := l.random.IntN(3)
	if faulty && kind == 0 {
		return 0, errAway
	}
	got := want
	if limit > 0 {
		got = max(0, min(want, limit-l.taken[a]))
	}
	l.taken[a] += got
	switch {
	case faulty && kind == 1:
		return 0, errAway
	case faulty: // rerun: what the first run took is nobody's
		if limit > 0 {
			got = max(0, min(want, limit-l.taken[a]))
		}
		l.taken[a] += got
	}
	return got, nil
}

// delay takes up to half of slow.
func (l *ledger) delay(ctx context.Context) error {
	l.mu.Lock()
	slow := l.slow
	if slow > 0 {
		slow = time.Duration(l.random.Int64N(int64(slow / 2)))
	}
	l.mu.Unlock()
	if slow == 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(slow):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// of is what is taken of an account.
func (l *ledger) of(a budget.Account) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken[a]
}
