package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// order is one key that a caller of Fresh waits for because the pool was empty.
type order struct {
	call *call

	// Owned by the pool's lock.
	left    bool // the caller went; the key goes to the pool
	settled bool
	entry   *entry
	err     error
}

// Fresh returns n keys that nobody uses yet: from the pool, and made now for what the pool lacks. The caller's Update
// consumes the row of each; when it has returned nil the caller calls Keep; in every case it calls Close. Close without
// Keep spoils the key, whatever became of the Update: a key whose row was consumed after all is safe. When keys cannot
// be made, all is given up with kms.ErrUnavailable, at once if making them failed a moment ago. With Options.Snapshot none is
// made for a caller.
func (k *Keyring) Fresh(ctx context.Context, n int) ([]*Opened, error) {
	if _, live := k.claim(); !live {
		return nil, ErrCopy
	}
	entries := k.pool.take(n)
	if lack := n - len(entries); lack > 0 {
		if k.snapshot != nil {
			k.pool.stock(entries...)
			return nil, errUnsaved
		}
		made, err := k.order(ctx, lack)
		if err != nil {
			k.pool.stock(entries...)
			return nil, err
		}
		entries = append(entries, made...)
	}
	out := make([]*Opened, n)
	for i, e := range entries {
		o := &Opened{keyring: k, fresh: true}
		o.few[0] = held{id: e.id, entry: e}
		o.keys = o.few[:1]
		out[i] = o
	}
	return out, nil
}

// Keep ends the freshness of a key: the Update that consumed its row has returned nil. It stays cached for the lease of
// the permit, which was taken before that Update began. The caller still closes it.
func (k *Keyring) Keep(o *Opened, p Permit) {
	if !o.fresh || o.closed {
		return
	}
	o.fresh = false
	now := k.now()
	for i := range o.keys {
		e := o.keys[i].entry
		if displaced := k.cache.shard(e.id).keep(e, p, now, k.cache.lease); displaced != nil {
			displaced.release()
		}
	}
}

func (s *shard) keep(e *entry, p Permit, now time.Time, lease time.Duration) (displaced *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses(e.id, p) {
		return nil
	}
	return s.cacheUnder(p, e, now, lease)
}

// order has n keys made, together with what others order meanwhile.
func (k *Keyring) order(ctx context.Context, n int) ([]*entry, error) {
	if k.pool.gate.allows(1) == 0 {
		return nil, fmt.Errorf("keyring: make keys: failed a moment ago: %w", kms.ErrUnavailable)
	}
	call, orders := newCall(n), make([]*order, n)
	for i := range orders {
		orders[i] = &order{call: call}
	}
	if err := k.makes.add(orders...); err != nil {
		return nil, err
	}
	err := call.wait(ctx, k.timeout)
	if err != nil {
		err = fmt.Errorf("keyring: make keys: %w", err)
	}
	return k.pool.collect(orders, err)
}

// collect returns what the orders brought. After an error, the caller's or that of any order, the keys that were made,
// and those that will be, go to the pool.
func (p *pool) collect(orders []*order, err error) ([]*entry, error) {
	var made []*entry
	p.mu.Lock()
	for _, o := range orders {
		o.left = !o.settled
		if o.entry != nil {
			made = append(made, o.entry)
		}
		if err == nil {
			err = o.err
		}
	}
	p.mu.Unlock()
	if err != nil {
		p.stock(made...)
		return nil, err
	}
	return made, nil
}

// fill is one call to the provider for the orders that somebody still waits for.
func (k *Keyring) fill(ctx context.Context, orders []*order) {
	if wanted := k.pool.wanted(orders); len(wanted) > 0 {
		entries, err := k.make(ctx, len(wanted))
		k.pool.deliver(wanted, entries, err)
	}
}

// wanted returns the orders whose callers have not left.
func (p *pool) wanted(orders []*order) []*order {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make([]*order, 0, len(orders))
	for _, o := range orders {
		if !o.left {
			wanted = append(wanted, o)
		}
	}
	return wanted
}

// deliver settles orders with the keys made for them or the error; what its caller left goes to the pool.
func (p *pool) deliver(orders []*order, entries []*entry, err error) {
	var stray []*entry
	p.mu.Lock()
	for i, o := range orders {
		o.settled, o.err = true, err
		switch {
		case err != nil:
		case o.left:
			stray = append(stray, entries[i])
		default:
			o.entry = entries[i]
		}
		o.call.settle()
	}
	p.mu.Unlock()
	p.stock(stray...)
}
