package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// flight is one reading of one key from the provider, shared by everyone who asks for the key meanwhile.
type flight struct {
	id   kms.ID
	done chan struct{} // closed when it has landed

	// Owned by the shard's lock until landed, then constant.
	landed  bool
	waiters int
	permit  Permit // the latest of the waiters'
	entry   *entry // with a reference for each waiter
	err     error
}

// land ends a flight for its waiters: with an entry, which carries a reference for each of them, or with an error. The
// lock is held.
func (s *shard) land(f *flight, e *entry, err error) {
	f.landed, f.entry, f.err = true, e, err
	if s.flights[f.id] == f {
		delete(s.flights, f.id)
	}
	close(f.done)
}

// fly is one call to the provider for the flights that somebody still waits for.
func (k *Keyring) fly(ctx context.Context, flights []*flight) {
	wanted := make([]*flight, 0, len(flights))
	for _, f := range flights {
		if k.cache.shard(f.id).wanted(f) {
			wanted = append(wanted, f)
		}
	}
	if len(wanted) > 0 {
		k.read(ctx, wanted)
	}
}

// wanted reports whether a flight that waited for its call should still take off; one that everybody left does not.
func (s *shard) wanted(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.landed && f.waiters == 0 {
		s.land(f, nil, context.Canceled)
	}
	return !f.landed
}

// read asks the provider and lands the flights. A key that does not open fails the provider's whole answer, so what was
// asked beside it is asked again in halves, until it fails alone.
func (k *Keyring) read(ctx context.Context, flights []*flight) {
	ids := make([]kms.ID, len(flights))
	for i, f := range flights {
		ids[i] = f.id
	}
	began := k.now()
	keys, err := k.kms.Open(ctx, ids...)
	if err == nil {
		err = check(ids, keys, true)
	}
	k.observer.Called(OpOpen, len(ids), k.now().Sub(began), err)
	if (errors.Is(err, kms.ErrCorrupt) || errors.Is(err, kms.ErrWithheld)) && len(flights) > 1 {
		half := len(flights) / 2
		k.read(ctx, flights[:half])
		k.read(ctx, flights[half:])
		return
	}
	for i, f := range flights {
		if err != nil {
			k.arrive(f, kms.Key{}, k.failure("open keys", err))
		} else {
			k.arrive(f, keys[i], nil)
		}
	}
}

// check holds a provider to its contract: a wrong key under an id would be a loss that shows much later. What it rejects
// it wipes.
func check(ids []kms.ID, keys []kms.Key, mayMiss bool) (err error) {
	defer func() {
		for i := range keys {
			if err != nil {
				keys[i].Secret.Wipe()
			}
		}
	}()
	if len(keys) != len(ids) {
		return fmt.Errorf("%w: %d keys answered for %d ids", kms.ErrCorrupt, len(keys), len(ids))
	}
	for i, key := range keys {
		if key.ID != ids[i] || key.Secret.Len() != kms.KeySize && !(mayMiss && key.Missing()) {
			return fmt.Errorf("%w: answer for %s is no key of that id", kms.ErrCorrupt, ids[i])
		}
	}
	return nil
}

// failure gives an error of the provider its context. One that ran out of time is the provider's being away.
func (k *Keyring) failure(doing string, err error) error {
	switch {
	case k.closed.Load():
		return ErrClosed
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kms.ErrUnavailable):
		return fmt.Errorf("keyring: %s: %w: %w", doing, kms.ErrUnavailable, err)
	default:
		return fmt.Errorf("keyring: %s: %w", doing, err)
	}
}

// arrive lands a flight with the provider's answer, caching the key while the lease of the latest permit runs.
func (k *Keyring) arrive(f *flight, key kms.Key, err error) {
	var e *entry
	switch {
	case err != nil:
	case key.Missing():
		err = ErrMissing
	default:
		e = k.hold(key, 1) // until it is known who wants it
	}
	displaced := k.cache.shard(f.id).arrive(f, e, err, k.now(), k.cache.lease)
	if e != nil {
		e.release()
	}
	if displaced != nil {
		displaced.release()
	}
}

func (s *shard) arrive(f *flight, e *entry, err error, now time.Time, lease time.Duration) (displaced *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.landed { // a purge was faster
		return nil
	}
	if e != nil {
		e.refs.Add(int32(f.waiters))
		displaced = s.cacheUnder(f.permit, e, now, lease)
	}
	s.land(f, e, err)
	return displaced
}

// cacheUnder caches an entry if the lease of the permit still runs. The lock is held.
func (s *shard) cacheUnder(p Permit, e *entry, now time.Time, lease time.Duration) (displaced *entry) {
	if s.room == 0 || !leased(p, now, lease) {
		return nil
	}
	e.refs.Add(1)
	return s.insert(e, p.at.Add(lease))
}

// leased reports whether the lease of a permit runs. A permit from the future comes of a clock that was set back, which
// must not lengthen a lease.
func leased(p Permit, now time.Time, lease time.Duration) bool {
	age := now.Sub(p.at)
	return age >= 0 && age < lease
}
