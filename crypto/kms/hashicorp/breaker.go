package hashicorp

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

const (
	tripAfter = 2                      // failures running
	cooldown  = 500 * time.Millisecond // between trials of a server that is away
)

// verdict is what an operation tells about the server.
type verdict int

const (
	unknown verdict = iota // the caller gave up
	alive
	away
)

// breaker keeps callers from waiting for a server that is away. After tripAfter failures running it admits one operation,
// the trial, each cooldown; a success lets everyone in again.
type breaker struct {
	mu       sync.Mutex
	failures int // running
	phase    phase
	rest     *time.Timer // ends resting; not nil once tripped
}

// phase is what the breaker does with the next operation.
type phase int

const (
	closed  phase = iota // admits all
	resting              // admits none
	due                  // admits the trial
	trying               // admits none: the trial is out
)

var errTripped = fmt.Errorf("%w: it failed a moment ago", kms.ErrUnavailable)

// admit returns nil when an operation may go; it must then be settled.
func (b *breaker) admit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.phase {
	case closed:
		return nil
	case due:
		b.phase = trying
		return nil
	}
	return errTripped
}

// settle takes the verdict of an admitted operation. One that was admitted before the breaker tripped and fails late does
// not put the trial off.
func (b *breaker) settle(v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v {
	case alive:
		b.failures, b.phase = 0, closed
		return
	case away:
		b.failures++
	}
	if b.phase == trying || b.phase == closed && b.failures >= tripAfter {
		b.pause()
	}
}

// pause lets a trial go after the cooldown. The caller holds mu.
func (b *breaker) pause() {
	if b.rest != nil {
		b.rest.Stop()
	}
	b.phase = resting
	b.rest = time.AfterFunc(cooldown, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.phase == resting {
			b.phase = due
		}
	})
}

// stop ends the timer.
func (b *breaker) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rest != nil {
		b.rest.Stop()
	}
}

// judge tells from an operation's error how the server is. Over quota and behind are signs of life; so is a denial.
func judge(err error, callerEnded bool) verdict {
	status, ok := errors.AsType[statusError](err)
	switch {
	case !errors.Is(err, kms.ErrUnavailable), ok && turnedAway(int(status)):
		return alive
	case callerEnded:
		return unknown
	}
	return away
}
