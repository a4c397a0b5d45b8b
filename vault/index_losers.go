package vault

import (
	"context"
	"sync"
	"time"
)

// losers are the calls on their way that have lost a round, perhaps to a rotation of the index: while there are any, no rotation
// begins here, for as long as patience lasts. A rotation in course costs a call one more round at most, so whoever looks up or
// enters gets through, however fast rotations follow each other. Like a turn this is a courtesy and no lock.
type losers struct {
	mu   sync.Mutex
	all  int
	none chan struct{} // closed when there are none any more; nil while there are none
}

// enter counts a call among the losers until it calls leave.
func (l *losers) enter() (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all++; l.all == 1 {
		l.none = make(chan struct{})
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.all--; l.all == 0 {
			close(l.none)
			l.none = nil
		}
	}
}

// wait waits until there are none. The error is the context's.
func (l *losers) wait(ctx context.Context) error {
	l.mu.Lock()
	none := l.none
	l.mu.Unlock()
	if none == nil {
		return nil
	}
	waited := time.NewTimer(patience)
	defer waited.Stop()
	select {
	case <-none:
	case <-waited.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
