package vault

import (
	"context"
	"runtime"
)

// bulk keeps what large batches do at the same time to some of the processors and of the store's connections, however many there are, so that
// calls about few tokens go on beside them. Waiting for a key provider is not a part of that.
type bulk chan struct{}

// init makes room for half of the processors, and for two at least: half of the time a step waits for the store.
func (b *bulk) init() { *b = make(bulk, max(2, runtime.GOMAXPROCS(0)/2)) }

// do runs a step of a call, once there is room if that is large.
func (b bulk) do(ctx context.Context, large bool, f func() error) error {
	if !large {
		return f()
	}
	select {
	case b <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-b }()
	return f()
}
