package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

// Opened are keys in use. Key may be called from several goroutines; Close once they are done.
type Opened struct {
	keyring *Keyring
	keys    []held
	few     [2]held // what keys is made of when they are few
	fresh   bool    // made by Fresh and not yet kept
	closed  bool
}

// held is one key of an Opened: waited for while flight is set, then either an entry it holds a reference to, or an error.
type held struct {
	id     kms.ID
	entry  *entry
	flight *flight
	err    error
}

// Open opens keys under a permit whose Update has allowed it. It fails as a whole when the permit is missing or too old,
// when ctx ends, or when the keyring is closed; every other failure is told key by key by [Opened.Key]: a corrupt or
// missing key does not hide the ones beside it. The caller closes what it gets. Cached keys are served whether or not
// the provider is there; others fail with kms.ErrUnavailable within Options.Timeout.
func (k *Keyring) Open(ctx context.Context, p Permit, ids ...kms.ID) (*Opened, error) {
	now := k.now()
	if p.purges == 0 || now.Sub(p.at) > k.cache.permitLife {
		return nil, ErrPermit
	}
	if k.closed.Load() {
		return nil, ErrClosed
	}
	o := &Opened{keyring: k}
	if len(ids) <= len(o.few) {
		o.keys = o.few[:len(ids)]
	} else {
		o.keys = make([]held, len(ids))
	}
	if err := k.refusal(); err != nil {
		for i, id := range ids {
			o.keys[i] = held{id: id, err: err}
		}
		return o, nil
	}
	var begun []*flight
	waiting := false
	for i, id := range ids {
		h := &o.keys[i]
		h.id = id
		first := k.cache.shard(id).reach(h, p, now, k.cache.lease)
		if first {
			begun = append(begun, h.flight)
		}
		waiting = waiting || h.flight != nil
	}
	if waiting {
		if err := k.await(ctx, o, begun); err != nil {
			return nil, err
		}
	}
	k.lastLook(o, p)
	return o, nil
}

// reach takes a reference to the cached entry, or a seat on the flight that brings the key; first tells that the flight
// is new and has yet to be sent off.
func (s *shard) reach(h *held, p Permit, now time.Time, lease time.Duration) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses(h.id, p) {
		h.err = ErrPurged
		return false
	}
	e := s.entries[h.id]
	if e != nil && now.Before(e.expires) {
		s.hits++
		e.refs.Add(1)
		h.entry = e
		s.touch(e)
		if expires := p.at.Add(lease); leased(p, now, lease) && expires.After(e.expires) {
			e.expires = expires
		}
		return false
	}
	if e != nil { // its lease has run out
		s.remove(e)
		e.release()
	}
	s.misses++
	f := s.flights[h.id]
	if f == nil {
		f = &flight{id: h.id, done: make(chan struct{})}
		s.flights[h.id] = f
		first = true
	}
	f.waiters++
	f.permit = later(f.permit, p)
	h.flight = f
	return first
}

// await sends off the flights that are new and waits for all. When it gives up it leaves the others waiting and closes o.
func (k *Keyring) await(ctx context.Context, o *Opened, begun []*flight) error {
	if err := k.opens.add(begun...); err != nil {
		for _, f := range begun {
			k.arrive(f, kms.Key{}, err)
		}
	}
	slow := time.NewTimer(k.timeout)
	defer slow.Stop()
	late := false // the timer fires once, for every key that has not come by then
	for i := range o.keys {
		h := &o.keys[i]
		if h.flight == nil {
			continue
		}
		if late {
			k.leave(h)
			continue
		}
		select {
		case <-h.flight.done:
			k.leave(h)
		case <-slow.C:
			late = true
			k.leave(h)
		case <-ctx.Done():
			o.Close()
			return fmt.Errorf("keyring: open keys: %w", context.Cause(ctx))
		}
	}
	return nil
}

// leave ends the waiting for a key, with what the flight brought or, if it has not landed, without it.
func (k *Keyring) leave(h *held) {
	f, s := h.flight, k.cache.shard(h.id)
	h.flight = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.landed {
		h.entry, h.err = f.entry, f.err
		return
	}
	f.waiters--
	h.err = fmt.Errorf("keyring: open keys: no answer in time: %w", kms.ErrUnavailable)
}

// lastLook drops what a purge, or Options.Hold, overtook while other keys were looked up and waited for. It is the last thing
// Open does.
func (k *Keyring) lastLook(o *Opened, p Permit) {
	if err := k.refusal(); err != nil {
		for i := range o.keys {
			o.keys[i].drop(err)
		}
		return
	}
	if k.cache.purges.Load() < p.purges { // none has begun since the permit
		return
	}
	for i := range o.keys {
		h := &o.keys[i]
		if k.cache.shard(h.id).overtook(h.id, p) {
			h.drop(ErrPurged)
		}
	}
}

// drop gives back a key that is there, and has err in its place.
func (h *held) drop(err error) {
	if h.entry != nil {
		h.entry.release()
		h.entry, h.err = nil, err
	}
}

// overtook is refuses for one who does not hold the lock.
func (s *shard) overtook(id kms.ID, p Permit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuses(id, p)
}

// ID names the i-th key, in the order asked for.
func (o *Opened) ID(i int) kms.ID { return o.keys[i].id }

// Key returns the i-th key. The bytes are the keyring's: they must not be changed or wiped, and are valid until Close,
// after which they may be zeros or another key's. The error is ErrMissing, ErrPurged, or one of package kms.
func (o *Opened) Key(i int) (secret.Bytes, error) {
	if o.closed {
		return secret.Bytes{}, ErrClosed
	}
	h := &o.keys[i]
	if h.err != nil {
		return secret.Bytes{}, h.err
	}
	return h.entry.secret, nil
}

// Err returns the errors of all keys that have one, joined.
func (o *Opened) Err() error {
	var errs []error
	for i := range o.keys {
		errs = append(errs, o.keys[i].err)
	}
	return errors.Join(errs...)
}

// Close ends the use of the keys. A fresh key that was not kept is given back: see [Keyring.Fresh]. Closing again does
// nothing.
func (o *Opened) Close() {
	if o.closed {
		return
	}
	o.closed = true
	for i := range o.keys {
		h := &o.keys[i]
		if h.flight != nil {
			o.keyring.leave(h)
		}
		if h.entry != nil {
			h.entry.release()
			h.entry = nil
		}
		if o.fresh {
			o.keyring.pool.spoil(h.id)
		}
	}
}
