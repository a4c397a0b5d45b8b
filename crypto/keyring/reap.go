package keyring

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// reapBatch is how many keys one call destroys at most, and reapTimeout what it may take: it verifies each.
const (
	reapBatch   = 64
	reapTimeout = 30 * time.Second
)

// doom is what is known in this process of an id that Pool.Reclaim names.
type doom struct {
	seen      time.Time // when it was first named
	destroyed bool      // once; the second time ends it
}

// reap spoils what was given back, and destroys and forgets what the pool says nobody can use any more.
func (k *Keyring) reap(ctx context.Context) {
	poll := time.NewTicker(min(pollEvery, max(k.pool.settle/2, 10*time.Millisecond)))
	defer poll.Stop()
	doomed := make(map[kms.ID]doom)
	for {
		if _, live := k.claim(); live {
			if err := k.reapOnce(ctx, doomed); err != nil && ctx.Err() == nil {
				k.observer.Trouble(fmt.Errorf("keyring: destroy unused keys: %w", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-k.pool.waste:
		case <-poll.C:
		}
	}
}

// reapOnce goes through the life of an unused id as far as it leads today. doomed is its memory between calls.
func (k *Keyring) reapOnce(ctx context.Context, doomed map[kms.ID]doom) error {
	if err := k.spoilRows(ctx); err != nil {
		return err
	}
	ids, err := k.pool.rows.Reclaim(ctx)
	if err != nil {
		return fmt.Errorf("reclaim rows: %w", err)
	}
	k.pool.remember(doomed, ids, k.now())
	var first, last []kms.ID
	for _, id := range ids {
		switch d := doomed[id]; {
		case !d.destroyed:
			first = append(first, id)
		case k.now().Sub(d.seen) >= k.pool.settle:
			last = append(last, id)
		}
	}
	for batch := range slices.Chunk(first, reapBatch) {
		if err := k.destroyUnused(ctx, batch); err != nil {
			return err
		}
		for _, id := range batch {
			doomed[id] = doom{seen: doomed[id].seen, destroyed: true}
		}
	}
	for batch := range slices.Chunk(last, reapBatch) {
		if err := k.destroyUnused(ctx, batch); err != nil {
			return err
		}
		if err := k.pool.rows.Forget(ctx, batch...); err != nil {
			return fmt.Errorf("forget %d rows: %w", len(batch), err)
		}
	}
	return nil
}

// spoilRows flips the rows of what was given back. What fails is kept for the next time.
func (k *Keyring) spoilRows(ctx context.Context) error {
	ids := k.pool.takeSpoiled()
	for len(ids) > 0 {
		batch := ids[:min(len(ids), reapBatch)]
		if err := k.pool.rows.Spoil(ctx, batch...); err != nil {
			k.pool.keepSpoiled(ids)
			return fmt.Errorf("spoil %d rows: %w", len(batch), err)
		}
		ids = ids[len(batch):]
	}
	return nil
}

func (k *Keyring) destroyUnused(ctx context.Context, ids []kms.ID) error {
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	return k.Destroy(ctx, ids...)
}

// remember notes the ids that are named for the first time and drops those that no longer are.
func (p *pool) remember(doomed map[kms.ID]doom, ids []kms.ID, now time.Time) {
	named := make(map[kms.ID]bool, len(ids))
	for _, id := range ids {
		named[id] = true
		if _, known := doomed[id]; !known {
			doomed[id] = doom{seen: now}
		}
	}
	for id := range doomed {
		if !named[id] {
			delete(doomed, id)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = len(doomed)
}
