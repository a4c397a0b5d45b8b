package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Dated is a key of the pool and a time at which the provider had it.
type Dated struct {
	ID   kms.ID
	Made time.Time
}

// adoptBatch is how many rows one call of Pool.Adopt carries.
const adoptBatch = 200

// errUnsaved: no key is ready that a snapshot of the provider contains.
var errUnsaved = fmt.Errorf("keyring: no key is left that a snapshot contains: %w", kms.ErrUnavailable)

// errLost: keys that waited for a snapshot are not at the provider any more. They were nobody's.
var errLost = errors.New("keys made ahead are missing at the provider: was it restored from a snapshot?")

// Saved has the keyring look at once what Options.Snapshot says.
func (k *Keyring) Saved() { nudge(k.pool.low) }

// wait puts keys away until a snapshot contains them.
func (p *pool) wait(keys ...Dated) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, keys...)
}

// contained removes up to most of the keys that wait and were made by then.
func (p *pool) contained(by time.Time, most int) (some []Dated) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := p.waiting[:0]
	for _, key := range p.waiting {
		if len(some) < most && !key.Made.After(by) {
			some = append(some, key)
		} else {
			rest = append(rest, key)
		}
	}
	p.waiting = rest
	return some
}

// putAway dates keys that were just made and has them wait, closed: they are opened when they are wanted, which shows that
// they are still there.
func (k *Keyring) putAway(ctx context.Context, entries []*entry) error {
	made, ids := k.now(), make([]kms.ID, len(entries))
	for i, e := range entries {
		ids[i] = e.id
		e.release()
	}
	if err := k.pool.rows.Date(ctx, made, ids...); err != nil {
		k.pool.spoil(ids...)
		k.pool.gate.shut()
		return fmt.Errorf("keyring: date %d keys: %w", len(ids), err)
	}
	for _, id := range ids {
		k.pool.wait(Dated{id, made})
	}
	return nil
}

// advance takes over what processes that are gone left waiting, and makes ready what a snapshot contains by now.
func (k *Keyring) advance(ctx context.Context) error {
	for missing := k.pool.missing(); missing > 0; missing = k.pool.missing() {
		found, err := k.pool.rows.Adopt(ctx, min(missing, adoptBatch))
		if err != nil {
			return fmt.Errorf("keyring: adopt keys: %w", err)
		}
		if len(found) == 0 {
			break
		}
		k.pool.wait(found...)
	}
	for by := k.snapshot(); ctx.Err() == nil; {
		some := k.pool.contained(by, openBatch)
		if len(some) == 0 {
			break
		}
		if err := k.promote(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// promote opens keys and makes them ready. What is gone is spoiled.
func (k *Keyring) promote(ctx context.Context, some []Dated) error {
	ids := make([]kms.ID, len(some))
	for i, key := range some {
		ids[i] = key.ID
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	began := k.now()
	keys, err := k.kms.Open(ctx, ids...)
	if err == nil {
		err = check(ids, keys, true)
	}
	k.observer.Called(OpOpen, len(ids), k.now().Sub(began), err)
	if err != nil {
		if errors.Is(err, kms.ErrCorrupt) {
			k.pool.spoil(ids...)
		} else {
			k.pool.wait(some...)
		}
		return k.failure("open keys made ahead", err)
	}
	var lost []kms.ID
	for _, key := range keys {
		if key.Missing() {
			lost = append(lost, key.ID)
		} else {
			k.pool.stock(k.hold(key, 1))
		}
	}
	if len(lost) > 0 {
		k.pool.spoil(lost...)
		k.observer.Trouble(fmt.Errorf("keyring: %d of %d %w", len(lost), len(ids), errLost))
	}
	return nil
}
