// Package storetest is the one suite that every engine passes, and the faulty store that the domain is tested on.
//
// [Run] holds a store against its contract: its own writes, order, limits, what errors leave behind, snapshots; against
// a model, with random operations; and, with concurrent clients whose Updates fail before and after they persist,
// against linearizability (porcupine). Every check runs twice, once with f rerun at random. Durability is not in it: what
// that takes (a killed process, a cut of power) is particular to an engine.
package storetest

import (
	"testing"

	"github.com/sandyq/sandyq/vault/store"
)

// A check returns what it found wrong with an empty store, which it has to itself. Equal seeds make equal choices.
type check struct {
	name string
	run  func(s store.Store, seed uint64) error
}

// all lists the checks. It is a function of errors and not of *testing.T, so that a test can expect them to fail.
func all() []check {
	return []check{
		{"own writes", ownWrites},
		{"empty and absent", emptyAndAbsent},
		{"scan in order", scanInOrder},
		{"scan through writes", scanThroughWrites},
		{"limits", limits},
		{"largest update", largestUpdate},
		{"error drops writes", errorDropsWrites},
		{"error drops only its own", errorDropsOnlyItsOwn},
		{"cancelled context", cancelledContext},
		{"cancelled while waiting", cancelledWhileWaiting},
		{"panic reaches the caller", panicReachesCaller},
		{"view is a snapshot", viewIsSnapshot},
		{"view sees what was acknowledged", viewSeesAcknowledged},
		{"counter", counter},
		{"transfers", transfers},
		{"against the model", againstModel},
		{"registers are linearizable", registers},
		{"lists are serializable", lists},
		{"close", closing},
	}
}

// Run checks a store. open returns a new, empty one each time; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	const seed = 1
	for _, c := range all() {
		t.Run(c.name, func(t *testing.T) {
			for _, rerun := range []float64{0, 0.5} {
				s := open(t)
				if err := c.run(NewFaulty(s, Random(seed, Chances{Rerun: rerun})), seed); err != nil {
					t.Errorf("with f rerun at %v: %v", rerun, err)
				}
				if err := s.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}
		})
	}
}
