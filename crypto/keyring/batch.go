package keyring

import (
	"context"
	"fmt"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
)

// What one call to the provider carries at most, and how many calls of a kind are out at once. More than one, so that a
// slow call does not hold up all others; few, so that what waits meanwhile gathers into the next.
const (
	openBatch = 128
	makeBatch = 64
	macBatch  = 512
	callsOut  = 4
	waiting   = 32 // calls' worth of items that wait at most; what came after them would wait longer than the timeout
)

// ErrBusy: so much waits for the provider that more would not be answered in time. Nothing was sent.
var ErrBusy = fmt.Errorf("keyring: %w: too much waits for it", kms.ErrUnavailable)

// batcher gathers items that arrive while calls are out into the next call. An item that finds a call free to make is
// sent at once: there is no delay when idle. The context of a call is the keyring's, bounded by its timeout, never that
// of a caller; callers leave on their own.
type batcher[T any] struct {
	keyring *Keyring
	most    int
	call    func(ctx context.Context, items []T) // settles every item; runs on a goroutine that Close waits for

	mu     sync.Mutex
	queue  []T
	out    int
	closed bool
}

func (b *batcher[T]) init(k *Keyring, most int, call func(context.Context, []T)) {
	b.keyring, b.most, b.call = k, most, call
}

// add queues items: all, or none with ErrClosed or ErrBusy.
func (b *batcher[T]) add(items ...T) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if len(b.queue) > 0 && len(b.queue)+len(items) > waiting*b.most {
		return ErrBusy
	}
	b.queue = append(b.queue, items...)
	for starts := (len(items) + b.most - 1) / b.most; starts > 0 && b.out < callsOut; starts-- {
		b.out++
		b.keyring.work.Go(b.drain)
	}
	return nil
}

// drain makes calls until nothing waits.
func (b *batcher[T]) drain() {
	for {
		items := b.next()
		if items == nil {
			return
		}
		ctx, cancel := context.WithTimeout(b.keyring.life, b.keyring.timeout)
		b.call(ctx, items)
		cancel()
	}
}

// next takes the oldest items for one call; with none left the caller is out no more.
func (b *batcher[T]) next() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), b.most)
	if n == 0 {
		b.queue = nil
		b.out--
		return nil
	}
	items := b.queue[:n:n]
	b.queue = b.queue[n:]
	return items
}

// close takes no more items. Those that wait are still settled, by calls whose context has ended.
func (b *batcher[T]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
