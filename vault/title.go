package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

const metaTitle = "title"

// titleRow is the store's title to its keys: what it pinned at set-up, the generation it holds, and where it lay.
type titleRow struct {
	Sentinel   kms.Sentinel  `cbor:"1,keyasint"`
	Generation generationRow `cbor:"2,keyasint"`
	Pending    generationRow `cbor:"3,keyasint"` // durable before the key side is told
	Place      string        `cbor:"4,keyasint"`
}

type generationRow struct {
	Number   uint64 `cbor:"1,keyasint"`
	Instance kms.ID `cbor:"2,keyasint"`
}

func (g generationRow) generation() kms.Generation { return kms.Generation(g) }

// standing is what a store is to its keys.
type standing int

const (
	titleUnknown    standing = iota // the key side is not there, or not as it was left: nothing is destroyed
	titleLive                       // both sides agree
	titleCopy                       // it lies elsewhere than the store that was set up: it reads at most
	titleSuperseded                 // another store is the live one for these keys: it does nothing
)

// title knows whether the store is the live one. A store is live when it lies where it lay, and the key side holds the
// same sentinel and generation; then both go on to the next generation, so whatever was copied before holds an old one.
type title struct {
	service *Service
	mu      sync.Mutex // held while settling; no other lock is taken under it
	state   atomic.Pointer[titleState]
	lost    atomic.Bool // the key side did not answer the last time
}

type titleState struct {
	standing standing
	claim    kms.Claim
}

func (t *title) init(s *Service) {
	t.service = s
	t.state.Store(&titleState{})
}

func (t *title) standing() standing { return t.state.Load().standing }

func (t *title) away() bool { return t.lost.Load() }

// claim is what the key provider is shown before it destroys; live is false for a copy and before the first contact.
func (t *title) claim() (kms.Claim, bool) {
	s := t.state.Load()
	return s.claim, s.standing == titleLive
}

func (t *title) set(st standing, c kms.Claim) {
	t.state.Store(&titleState{st, c})
	t.service.Observer.Live(st == titleLive)
}

// ErrForeignKeys reports a store without a title beside keys that have one.
var ErrForeignKeys = errors.New("the keys belong to another store")

// settle finds out where the store stands, or sees whether a live one still does. It is cheap once settled.
func (t *title) settle(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.look(ctx)
	t.lost.Store(errors.Is(err, kms.ErrUnavailable))
	return err
}

func (t *title) look(ctx context.Context) error {
	row, err := t.read(ctx)
	if err != nil {
		return err
	}
	if row != nil && row.Place != t.service.Place {
		t.set(titleCopy, kms.Claim{})
		return t.reach(ctx)
	}
	keys := t.service.Keys
	sentinel, err := keys.Sentinel(ctx)
	if err != nil {
		return t.doubt(err)
	}
	current, err := keys.Generation(ctx)
	if err != nil {
		return t.doubt(err)
	}
	switch {
	case row == nil && current != (kms.Generation{}):
		return ErrForeignKeys
	case row == nil:
		row = &titleRow{Sentinel: sentinel, Place: t.service.Place}
	case row.Sentinel != sentinel:
		return t.doubt(kms.ErrClaim)
	}
	state := t.state.Load()
	switch {
	case state.standing == titleLive && current == state.claim.Generation:
		return nil
	case current == row.Pending.generation() && current != (kms.Generation{}):
		// An earlier start told the key side and fell before it told the store.
	case current == row.Generation.generation():
		if err := t.advance(ctx, row, current); err != nil {
			return err
		}
	case current.Number > row.Generation.Number:
		t.set(titleSuperseded, kms.Claim{})
		return nil
	default:
		return t.doubt(kms.ErrClaim) // it was rolled back
	}
	row.Generation, row.Pending = row.Pending, generationRow{}
	if err := t.write(ctx, row); err != nil {
		return err
	}
	t.set(titleLive, kms.Claim{Sentinel: row.Sentinel, Generation: row.Generation.generation()})
	return nil
}

// reach is for a copy, which asks the key side for nothing but whether it is there.
func (t *title) reach(ctx context.Context) error {
	_, err := t.service.Keys.Sentinel(ctx)
	return err
}

// doubt passes on why the key side could not be taken at its word. A live store that finds another sentinel, or none, or an
// earlier generation, is not live until they are as they were: the mount is gone or another, or the server was rolled back.
func (t *title) doubt(err error) error {
	if errors.Is(err, kms.ErrClaim) {
		t.set(titleUnknown, kms.Claim{})
	}
	return fmt.Errorf("the store's title to its keys: %w", err)
}

func (t *title) advance(ctx context.Context, row *titleRow, from kms.Generation) error {
	// A pending generation that an earlier try told the key side, for all we know, is told again and not replaced.
	if row.Pending.Number != from.Number+1 {
		row.Pending = generationRow{from.Number + 1, kms.NewID()}
	}
	if err := t.write(ctx, row); err != nil {
		return err
	}
	if err := t.service.Keys.Advance(ctx, from, row.Pending.generation()); err != nil {
		return t.doubt(err)
	}
	return nil
}

func (t *title) read(ctx context.Context) (row *titleRow, err error) {
	err = t.service.Store.View(ctx, func(r store.Reader) error {
		row, err = getRow[titleRow](r, t.service.rows.meta(metaTitle))
		return err
	})
	return row, err
}

func (t *title) write(ctx context.Context, row *titleRow) error {
	return t.service.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return w.Set(t.service.rows.meta(metaTitle), encodeRow(row))
	})
}

// Promote makes this store the live one for its keys, whatever it was: what was live before can destroy nothing any more.
// The store must have been set up with these very keys.
func (s *Service) Promote(ctx context.Context) error {
	t := &s.title
	t.mu.Lock()
	defer t.mu.Unlock()
	row, err := t.read(ctx)
	if err != nil {
		return err
	}
	if row == nil {
		return errors.New("vault: promote: the store was never set up")
	}
	sentinel, err := s.Keys.Sentinel(ctx)
	if err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	if sentinel != row.Sentinel {
		return fmt.Errorf("vault: promote: %w", kms.ErrClaim)
	}
	current, err := s.Keys.Generation(ctx)
	if err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	if err := t.advance(ctx, row, current); err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	row.Generation, row.Pending, row.Place = row.Pending, generationRow{}, s.Place
	if err := t.write(ctx, row); err != nil {
		return err
	}
	t.set(titleLive, kms.Claim{Sentinel: row.Sentinel, Generation: row.Generation.generation()})
	s.wake()
	return nil
}

// current refuses everything once another store is the live one: blocks and erasures are over there.
func (s *Service) current() error {
	if s.title.standing() == titleSuperseded {
		return fault.New(fault.Unavailable, "another store is the live vault for these keys: see the runbook")
	}
	return nil
}

// writable refuses changes to a copy.
func (s *Service) writable() error {
	if s.title.standing() == titleCopy {
		return fault.New(fault.Unavailable, "this store is a copy, not the live vault: it can be read and nothing else")
	}
	return s.current()
}
