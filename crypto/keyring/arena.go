package keyring

import (
	"fmt"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
)

// regionSize is how much memory the arena takes from the system at a time, in bytes: whole pages on every platform.
const regionSize = 64 << 10

// arena hands out slots for keys, each wiped when it comes back. It grows and does not shrink; regions that could not be
// locked are used all the same and reported.
type arena struct {
	trouble func(error)

	mu               sync.Mutex
	regions          []region
	free             []*slot
	used             int // slots handed out
	closed           bool
	locked, unlocked int // bytes
}

func newArena(trouble func(error)) *arena { return &arena{trouble: trouble} }

// get returns a slot of zeros.
func (a *arena) get() *slot {
	s, err := a.take()
	if err != nil {
		a.trouble(fmt.Errorf("keyring: keys lie in memory that is not fully protected: %w", err))
	}
	return s
}

// take returns a slot. The error, beside it, is of the first region that could not be locked: those after it fare no
// better.
func (a *arena) take() (s *slot, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) == 0 {
		err = a.grow()
	}
	s = a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	a.used++
	return s, err
}

// grow adds a region. The lock is held; taking memory is no I/O.
func (a *arena) grow() (err error) {
	r, err := newRegion(regionSize)
	if r.locked {
		a.locked += len(r.bytes)
	} else {
		if a.unlocked > 0 {
			err = nil
		}
		a.unlocked += len(r.bytes)
	}
	a.regions = append(a.regions, r)
	for b := r.bytes; len(b) > 0; b = b[kms.KeySize:] {
		a.free = append(a.free, (*slot)(b))
	}
	return err
}

// put wipes a slot and takes it back.
func (a *arena) put(s *slot) {
	clear(s[:])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, s)
	a.used--
	a.unmap()
}

// close gives the memory back as soon as no slot is in use.
func (a *arena) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.unmap()
}

// unmap gives the memory back if the arena is closed and unused. The lock is held.
func (a *arena) unmap() {
	if !a.closed || a.used > 0 {
		return
	}
	for _, r := range a.regions {
		r.unmap()
	}
	a.regions, a.free, a.locked, a.unlocked = nil, nil, 0, 0
}

func (a *arena) stats(out *Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out.LockedBytes, out.UnlockedBytes = a.locked, a.unlocked
}
