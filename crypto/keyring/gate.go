package keyring

import (
	"math/rand/v2"
	"sync"
	"time"
)

// The pauses after failures to make keys: doubling from the first to the last, each drawn from its upper half.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 15 * time.Second
)

// gate holds back the making of keys after a failure, so that an outage of the provider does not fill the store with
// rows of keys that were never made.
type gate struct {
	opened func() // called when a pause has ended

	mu     sync.Mutex
	pause  time.Duration // the last one; zero when the last attempt succeeded
	barred bool          // a pause runs
	closed bool
	timer  *time.Timer
}

// allows is how many of n keys may be attempted now: none during a pause, one after it, all when the last attempt
// succeeded.
func (g *gate) allows(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.barred:
		return 0
	case g.pause > 0:
		return min(n, 1)
	default:
		return n
	}
}

// shut begins a pause; one that runs is not made longer.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.barred || g.closed {
		return
	}
	g.barred = true
	g.pause = min(max(2*g.pause, firstPause), lastPause)
	g.timer = time.AfterFunc(g.pause/2+rand.N(g.pause/2), g.lift) //nolint:gosec // jitter
}

// lift ends the pause.
func (g *gate) lift() {
	g.mu.Lock()
	g.barred = false
	g.mu.Unlock()
	g.opened()
}

// open notes a success.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.barred, g.pause = false, 0
	if g.timer != nil {
		g.timer.Stop()
	}
}

// close stops the timer.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
