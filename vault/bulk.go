package vault

import (
	"context"
	"runtime"
	"sync/atomic"
)

// bulk keeps what large batches do at the same time to some of the processors and of the store's connections, however many there are, so that
// calls about few tokens go on beside them; while there are such calls, to half of that. Waiting for a key provider is not a part of it.
type bulk struct {
	room  chan struct{} // a place for each step
	aside chan struct{} // likewise, for those that began while there were calls about few tokens
	few   atomic.Int64  // steps of such calls that are under way
}

// init makes room for half of the processors, and for two at least: half of the time a step waits for the store.
func (b *bulk) init() {
	places := max(2, runtime.GOMAXPROCS(0)/2)
	b.room, b.aside = make(chan struct{}, places), make(chan struct{}, places/2)
}

// do runs a step of a call, once there is room if that is large.
func (b *bulk) do(ctx context.Context, large bool, f func() error) error {
	if !large {
		b.few.Add(1)
		defer b.few.Add(-1)
		return f()
	}
	if b.few.Load() > 0 {
		if err := enter(ctx, b.aside); err != nil {
			return err
		}
		defer func() { <-b.aside }()
	}
	if err := enter(ctx, b.room); err != nil {
		return err
	}
	defer func() { <-b.room }()
	return f()
}

// enter waits until a room has a place, and takes it.
func enter(ctx context.Context, room chan struct{}) error {
	select {
	case room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
