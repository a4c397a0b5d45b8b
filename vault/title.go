package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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
	// Past are the generations that this store held, the latest last: a key side that holds one of them was rolled back.
	Past []generationRow `cbor:"5,keyasint,omitempty"`

	raw []byte // as it stands in the store; nil when it is not there
}

// maxPast is how many past generations are remembered: a store takes one at each start.
const maxPast = 500

// enter makes the pending generation, which the key side knows by now, the store's own.
func (row *titleRow) enter() {
	if row.Generation.Number > 0 {
		row.Past = append(row.Past, row.Generation)
		row.Past = row.Past[max(0, len(row.Past)-maxPast):]
	}
	row.Generation, row.Pending = row.Pending, generationRow{}
}

type generationRow struct {
	Number   uint64 `cbor:"1,keyasint"`
	Instance kms.ID `cbor:"2,keyasint"`
}

func (g generationRow) generation() kms.Generation { return kms.Generation(g) }

// Standing is what a store is to its keys.
type Standing string

// The standings. A readiness names those of a store that stands back in the same words.
const (
	StandingUnknown    Standing = "unknown"    // the key side is not there, or not as it was left: nothing is destroyed
	StandingLive       Standing = "live"       // both sides agree
	StandingCopy       Standing = "copy"       // it lies elsewhere than the store that was set up: it reads at most
	StandingSuperseded Standing = "superseded" // another store is the live one for these keys: it does nothing
)

// StandingOf tells what a tenant's store, which lies at place, is to keys, and changes neither: a service that opens them
// goes on to the next generation, this does not. A new store beside new keys is live. The error is kms.ErrUnavailable,
// kms.ErrClaim when the keys are not as the store left them, ErrForeignKeys, or the store's.
func StandingOf(ctx context.Context, tenant string, s store.Store, place string, keys kms.Anchor) (Standing, error) {
	row, err := readTitle(ctx, s, layout{tenant})
	if err != nil {
		return StandingUnknown, err
	}
	found, err := compare(ctx, row, place, keys)
	return found.standing, err
}

// title knows whether the store is the live one. A store is live when it lies where it lay, and the key side holds the
// same sentinel and generation; then both go on to the next generation, so whatever was copied before holds an old one.
// Several nodes of one store go on one after another: each writes the row only as it read it, and a node that is live takes over
// the generation that another has gone on to.
type title struct {
	service *Service
	mu      sync.Mutex // held while settling; of other locks only accord.mu is taken under it
	state   atomic.Pointer[titleState]
	lost    atomic.Bool // the key side did not answer the last time
}

type titleState struct {
	standing Standing
	claim    kms.Claim
}

func (t *title) init(s *Service) {
	t.service = s
	t.state.Store(&titleState{standing: StandingUnknown})
}

func (t *title) standing() Standing { return t.state.Load().standing }

func (t *title) away() bool { return t.lost.Load() }

// claim is what the key provider is shown before it destroys; live is false for a copy and before the first contact.
func (t *title) claim() (kms.Claim, bool) {
	s := t.state.Load()
	return s.claim, s.standing == StandingLive
}

func (t *title) set(st Standing, c kms.Claim) {
	t.state.Store(&titleState{st, c})
	if st == StandingSuperseded {
		t.service.streams.cutAll()
	}
	t.service.Observer.Live(st == StandingLive)
}

// ErrForeignKeys reports a store without a title beside keys that have one.
var ErrForeignKeys = errors.New("the keys belong to another store")

// settle finds out where the store stands, or sees whether a live one still does. It is cheap once settled.
func (t *title) settle(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.look(ctx)
	for range maxRounds {
		if !errors.Is(err, errTitleMoved) {
			break
		}
		err = t.look(ctx)
	}
	t.lost.Store(errors.Is(err, kms.ErrUnavailable))
	return err
}

func (t *title) look(ctx context.Context) error {
	row, err := readTitle(ctx, t.service.Store, t.service.rows)
	if err != nil {
		return err
	}
	found, err := compare(ctx, row, t.service.Place, t.service.Keys)
	state := t.state.Load()
	if found.standing == StandingSuperseded || errors.Is(err, kms.ErrClaim) || errors.Is(err, ErrForeignKeys) {
		// So it looks, too, when another node has gone on between the row and the keys.
		if err := t.unmoved(ctx, row); err != nil {
			return err
		}
	}
	switch {
	case found.standing == StandingCopy:
		t.set(StandingCopy, kms.Claim{})
		return err
	case err != nil:
		return t.doubt(err)
	case state.standing == StandingLive && found.current == state.claim.Generation:
		return nil
	case found.standing == StandingSuperseded:
		t.set(StandingSuperseded, kms.Claim{})
		return nil
	}
	row = found.row
	if state.standing == StandingLive && !found.told && found.current.Number > state.claim.Generation.Number { // another node has gone on
		t.set(StandingLive, kms.Claim{Sentinel: row.Sentinel, Generation: row.Generation.generation()})
		return nil
	}
	if found.told {
		// Taken over, and gone on from: what was copied while it was pending must not find itself told too.
		row.enter()
	}
	if found.rolledBack {
		t.service.Log.WarnContext(ctx, "the key provider was restored from an older state: what it brought back is destroyed again",
			"generation", row.Generation.Number, "now", found.current.Number)
	}
	if err := t.goOn(ctx, row, found.current); errors.Is(err, kms.ErrClaim) {
		return fmt.Errorf("%w: %w", errTitleMoved, err) // the keys were as the row says when they were looked at
	} else if err != nil {
		return err
	}
	t.set(StandingLive, kms.Claim{Sentinel: row.Sentinel, Generation: row.Generation.generation()})
	return nil
}

// unmoved fails with errTitleMoved when the row is another than it was.
func (t *title) unmoved(ctx context.Context, was *titleRow) error {
	now, err := readTitle(ctx, t.service.Store, t.service.rows)
	if err == nil && ((now == nil) != (was == nil) || now != nil && !bytes.Equal(now.raw, was.raw)) {
		err = errTitleMoved
	}
	return err
}

// goOn takes both sides to the next generation. After the key side was rolled back that is one beyond all that the store has
// held, so that whatever was copied before finds itself superseded, as ever.
func (t *title) goOn(ctx context.Context, row *titleRow, current kms.Generation) error {
	for reached := row.Generation.Number; ; current = row.Generation.generation() {
		if err := t.advance(ctx, row, current); err != nil {
			return err
		}
		row.enter()
		if err := t.write(ctx, row); err != nil {
			return err
		}
		if row.Generation.Number > reached {
			return nil
		}
	}
}

// comparison is what holding a store's title against its keys came to.
type comparison struct {
	standing Standing
	row      *titleRow      // a new one for a new store
	current  kms.Generation // of the keys
	told     bool           // it is the pending one: an earlier start told the key side and fell before it told the store

	rolledBack bool // the key side holds a generation that the store has left behind
}

// compare holds a title, nil for a new store, against the keys. It writes nothing. The standing of a copy holds even with
// an error: a copy asks the key side for nothing but whether it is there.
func compare(ctx context.Context, row *titleRow, place string, keys kms.Anchor) (comparison, error) {
	c := comparison{standing: StandingUnknown, row: row}
	sentinel, err := keys.Sentinel(ctx)
	if row != nil && row.Place != place {
		c.standing = StandingCopy
		return c, err
	}
	if err != nil {
		return c, err
	}
	if c.current, err = keys.Generation(ctx); err != nil {
		return c, err
	}
	switch {
	case row == nil && c.current != (kms.Generation{}):
		return c, ErrForeignKeys
	case row == nil:
		c.row = &titleRow{Sentinel: sentinel, Place: place}
	case row.Sentinel != sentinel:
		return c, kms.ErrClaim
	}
	c.told = c.current == c.row.Pending.generation() && c.current != (kms.Generation{})
	switch {
	case c.told, c.current == c.row.Generation.generation():
		c.standing = StandingLive
	case slices.ContainsFunc(c.row.Past, func(g generationRow) bool { return g.generation() == c.current }):
		c.standing, c.rolledBack = StandingLive, true
	case c.current.Number > c.row.Generation.Number:
		c.standing = StandingSuperseded
	default:
		return c, kms.ErrClaim // it was rolled back to what this store never held
	}
	return c, nil
}

// doubt passes on why the key side could not be taken at its word. A live store that finds another sentinel, or none, or an
// earlier generation, is not live until they are as they were: the mount is gone or another, or the server was rolled back.
func (t *title) doubt(err error) error {
	if errors.Is(err, kms.ErrClaim) {
		t.set(StandingUnknown, kms.Claim{})
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
		return fmt.Errorf("the store's title to its keys: %w", err)
	}
	return nil
}

// readTitle reads a store's title; nil for a store that has none yet.
func readTitle(ctx context.Context, s store.Store, rows layout) (row *titleRow, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		raw, err := r.Get(rows.meta(metaTitle))
		if err != nil || raw[0] == nil {
			row = nil
			return err
		}
		if row, err = decodeRow[titleRow](raw[0]); err == nil {
			row.raw = bytes.Clone(raw[0])
		}
		return err
	})
	return row, err
}

// errTitleMoved tells that another node has written the row since it was read, or taken the keys further. It is to be looked at anew.
var errTitleMoved = errors.New("another node has gone on to another generation")

func (t *title) write(ctx context.Context, row *titleRow) error {
	next := encodeRow(row)
	err := t.service.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		key := t.service.rows.meta(metaTitle)
		raw, err := w.Get(key)
		if err != nil {
			return err
		}
		if !bytes.Equal(raw[0], row.raw) || (raw[0] == nil) != (row.raw == nil) {
			return errTitleMoved
		}
		return w.Set(key, next)
	})
	if err == nil {
		row.raw = next
	}
	return err
}

// errWentOn answers a promotion that found the keys at another generation than a moment before: another store was started or promoted, or
// an earlier try of this one came through late.
var errWentOn = fault.New(fault.Unavailable, "the keys have gone on meanwhile: if this store is still to be the live one, promote it again")

// Promote makes this store the live one for its keys, whatever it was: what was live before can destroy nothing any more.
// The store must have been set up with these very keys. Of fault.Unavailable it may be asked again.
func (s *Service) Promote(ctx context.Context) error {
	t := &s.title
	t.mu.Lock()
	defer t.mu.Unlock()
	row, err := readTitle(ctx, s.Store, s.rows)
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
	if err := movedOn(ctx, s.Store, s.rows, sentinel, current); err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	if err := s.pool.abandon(ctx); err != nil { // before anything reclaims: from here on the store may be live
		return fmt.Errorf("vault: promote: %w", err)
	}
	if err := s.renewLog(ctx); err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	row.Pending = generationRow{} // whoever has a copy of this row must not find itself told
	if err := t.advance(ctx, row, current); errors.Is(err, kms.ErrClaim) {
		return fmt.Errorf("vault: promote: %w: %w", errWentOn, err)
	} else if err != nil {
		return fmt.Errorf("vault: promote: %w", err)
	}
	row.enter()
	row.Place = s.Place
	if err := t.write(ctx, row); err != nil {
		return err
	}
	s.accord.promote(func() { // as a live store it has to carry the ledger out
		t.set(StandingLive, kms.Claim{Sentinel: row.Sentinel, Generation: row.Generation.generation()})
	})
	s.index.state.Store(nil) // whoever was live may have destroyed the key of an epoch that this one has open
	s.index.wake()
	s.wake()
	return nil
}

// current refuses everything once another store is the live one: blocks and erasures are over there.
func (s *Service) current() error {
	if s.title.standing() == StandingSuperseded {
		return fault.New(fault.Unavailable, "another store is the live vault for these keys: see the runbook")
	}
	return nil
}

// writable refuses changes to a copy.
func (s *Service) writable() error {
	if s.title.standing() == StandingCopy {
		return fault.New(fault.Unavailable, "this store is a copy, not the live vault: it can be read and nothing else")
	}
	return s.current()
}
