package keyring

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// call is one caller's wait for several items, each of which travels to the provider in whatever batch it falls into.
type call struct {
	left atomic.Int32  // items not yet settled
	gone atomic.Bool   // the caller left: what is not sent yet need not be
	done chan struct{} // closed when none is left
}

// newCall begins a call of n > 0 items.
func newCall(n int) *call {
	c := &call{done: make(chan struct{})}
	c.left.Store(int32(n))
	return c
}

// settle notes that one item is settled.
func (c *call) settle() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// wait waits until every item is settled. It gives up when ctx ends, or after the timeout, when the provider counts as
// away.
func (c *call) wait(ctx context.Context, timeout time.Duration) error {
	slow := time.NewTimer(timeout)
	defer slow.Stop()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.gone.Store(true)
		return context.Cause(ctx)
	case <-slow.C:
		c.gone.Store(true)
		return fmt.Errorf("no answer in time: %w", kms.ErrUnavailable)
	}
}
