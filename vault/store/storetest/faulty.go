package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/sandyq/sandyq/vault/store"
)

// ErrInjected is the error of an Update that a Faulty store fails. Its outcome is unknown to the caller.
var ErrInjected = errors.New("storetest: injected failure")

// Fault is what happens to one Update.
type Fault int

// The faults.
const (
	None       Fault = iota
	FailBefore       // f runs, nothing is written, ErrInjected
	FailAfter        // f runs, what it wrote is durable, ErrInjected
	Rerun            // f runs, nothing of that is written; f runs again, and that counts
)

// Plan decides the fault of the n-th Update of a store, counted from 1. It is called for one Update at a time.
type Plan func(n int) Fault

// Nth is the plan that the n-th Update gets fault and the others none.
func Nth(n int, fault Fault) Plan {
	return func(at int) Fault {
		if at == n {
			return fault
		}
		return None
	}
}

// Chances are the probabilities of the faults, together at most 1.
type Chances struct{ Before, After, Rerun float64 }

// Random is the plan of a seeded chance.
func Random(seed uint64, c Chances) Plan {
	rnd := rand.New(rand.NewPCG(seed, 0))
	return func(int) Fault {
		switch p := rnd.Float64(); {
		case p < c.Before:
			return FailBefore
		case p < c.Before+c.After:
			return FailAfter
		case p < c.Before+c.After+c.Rerun:
			return Rerun
		}
		return None
	}
}

// Faulty is a store whose Updates fail and rerun by plan. Views and Close pass through.
type Faulty struct {
	store.Store

	mu   sync.Mutex
	plan Plan
	n    int
}

// NewFaulty returns s with faults by plan.
func NewFaulty(s store.Store, plan Plan) *Faulty { return &Faulty{Store: s, plan: plan} }

// Updates returns how many Updates there were: to fail each step of an operation in turn, count them in a run without
// faults, and repeat with Nth.
func (s *Faulty) Updates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *Faulty) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.plan(s.n)
}

// Update implements store.Store.
func (s *Faulty) Update(ctx context.Context, f func(store.Writer) error) error {
	switch s.next() {
	case FailBefore:
		return s.dropped(ctx, f)
	case FailAfter:
		if err := s.Store.Update(ctx, f); err != nil {
			return err
		}
		return fmt.Errorf("after the commit: %w", ErrInjected)
	case Rerun:
		if err := s.dropped(ctx, f); !errors.Is(err, ErrInjected) {
			return err
		}
	}
	return s.Store.Update(ctx, f)
}

// dropped runs f for nothing.
func (s *Faulty) dropped(ctx context.Context, f func(store.Writer) error) error {
	return s.Store.Update(ctx, func(w store.Writer) error {
		if err := f(w); err != nil {
			return err
		}
		return fmt.Errorf("before the commit: %w", ErrInjected)
	})
}
