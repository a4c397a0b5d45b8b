package vault

import (
	"context"
	"sync"
	"time"
)

// turns has those who keep losing to other writers of one person queue up, so that each goes ahead in turn and nobody is
// starved. A turn is a courtesy, not a lock: what may be written is decided by the draft's expectations alone. Who has
// waited for patience goes ahead out of turn, and a call takes one turn at most, so nobody waits for somebody who waits.
// Blocks and erasures never queue (see lateChange).
type turns struct {
	mu    sync.Mutex
	queue map[string]*turn
}

type turn struct {
	waiting int           // with the one whose turn it is; owned by turns.mu
	busy    chan struct{} // holds one while somebody has the turn
}

func (t *turns) init() { t.queue = map[string]*turn{} }

// patience is how long a turn is waited for.
const patience = 500 * time.Millisecond

// take waits for the turn on a person and returns what ends it. The error is the context's.
func (t *turns) take(ctx context.Context, subject string) (end func(), err error) {
	t.mu.Lock()
	mine := t.queue[subject]
	if mine == nil {
		mine = &turn{busy: make(chan struct{}, 1)}
		t.queue[subject] = mine
	}
	mine.waiting++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.waiting--; mine.waiting == 0 {
			delete(t.queue, subject)
		}
	}
	waited := time.NewTimer(patience)
	defer waited.Stop()
	select {
	case mine.busy <- struct{}{}:
		return func() { <-mine.busy; leave() }, nil
	case <-waited.C:
		return leave, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
