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
	failures int         // running
	tripped  bool        //
	trial    bool        // an operation may go, or is on its way, as the trial
	rest     *time.Timer // sets trial; not nil once tripped
}

var errTripped = fmt.Errorf("%w: it failed a moment ago", kms.ErrUnavailable)

// admit returns nil when an operation may go; it must then be settled.
func (b *breaker) admit() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.tripped {
		return nil
	}
	if !b.trial {
		return errTripped
	}
	b.trial = false
	return nil
}

// settle takes the verdict of an admitted operation.
func (b *breaker) settle(v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v {
	case alive:
		b.failures, b.tripped, b.trial = 0, false, false
	case away:
		b.failures++
		b.tripped = b.tripped || b.failures >= tripAfter
	}
	if b.tripped {
		b.rearm()
	}
}

// rearm lets a trial go after the cooldown. The caller holds mu.
func (b *breaker) rearm() {
	if b.rest != nil {
		b.rest.Stop()
	}
	b.rest = time.AfterFunc(cooldown, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.trial = b.tripped
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
