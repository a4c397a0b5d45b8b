package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
)

// Rekeying takes a tenant from one store and one key provider to another store and another provider. Package move carries the rows, with
// Recast in between, which seals everything anew under new keys; this says what the two vaults are meanwhile.
//
// # Model
//
// A key has the same id at both providers and another secret. So a row names the same key on both sides, an erasure names both keys at once,
// and so does what the ledger lists of it. The vault at the source is the live one, on its old keys, until everything is at the target and was
// opened there. Then, nobody using either:
//
//  1. The log of the target goes on under another origin and the new provider's key: the old one signs the succession.
//  2. The old provider goes on to a generation that no store holds. From this step on the source is superseded and never comes back.
//  3. The new provider gets the old one's mark: it never had a key of anybody whom the ledger lists up to there. The target gets a title to it
//     and is the live vault.
//
// Last, Retire destroys the old keys.
//
// # Invariants
//
//   - While keys may be at both providers, which the mark of the move says in either store, no service destroys any: erasures that are
//     under way go as far as ErasureErasing, unreadable and listed in the ledger, and wait. So no key is made at the new provider for
//     anybody whose key was destroyed at the old one, nobody is told that a key is gone that is at the other provider, and a crash at
//     any step leaves nothing that needs to be known beside the two marks.
//   - Until step 2 nothing at the source is changed but for its mark. A source that is marked with the generation of step 2 is not promoted
//     any more: its target would go on beside it.
//   - What is in no ledger line, no row and no provider is not needed: the same command finds out how far it was and goes on.
type Rekeying struct {
	Tenant   string
	From, To Side
	Old, New kms.Provider
	Origin   string // of the log, without the tenant: as Options.Origin
	Clock    clock.Clock

	still  generationRow // of the source when it was to stand still
	recast *Recast       // that all was copied with
}

// metaRekey names the mark of a move of keys, which both stores have while it lasts.
const metaRekey = "rekey"

// rekeyRow is the mark: between which providers and places.
type rekeyRow struct {
	Old   kms.Sentinel  `cbor:"1,keyasint"`
	New   kms.Sentinel  `cbor:"2,keyasint"`
	From  string        `cbor:"3,keyasint"`
	To    string        `cbor:"4,keyasint"`
	First generationRow `cbor:"5,keyasint"` // of the new keys: they are this move's, and then the target's
	// Last is of the old keys, once the source is superseded: it is in both marks before.
	Last generationRow `cbor:"6,keyasint"`
}

// is reports whether two marks are of one move.
func (row *rekeyRow) is(other *rekeyRow) bool {
	if row == nil || other == nil {
		return false
	}
	a, b := *row, *other
	a.Last, b.Last = generationRow{}, generationRow{}
	return a == b
}

// The ways a move of keys is refused.
var (
	// ErrKeysUsed: the new provider belongs to a vault, or another move was begun to it.
	ErrKeysUsed = errors.New("the new keys belong to another vault already")
	// ErrOtherMove: the source is marked by a move of keys to somewhere else.
	ErrOtherMove = errors.New("a move of these keys to somewhere else was begun")
	// ErrNotSource: what the source is said to be is not the store that was moved, so it does not name all of the old keys.
	ErrNotSource = errors.New("this is not the store that was moved")
	// ErrMissingKeys: keys of living people are not at the old provider, so nothing of theirs could be sealed anew.
	ErrMissingKeys = errors.New("keys of living people are missing at the old provider")
)

// Prefix is that of all the tenant's rows.
func (m *Rekeying) Prefix() []byte { return layout{m.Tenant}.prefix() }

// StaysWithKeys is StaysBehind of a move of keys: keys that were made ahead stay as well.
func StaysWithKeys(key []byte) bool {
	kind, _ := kindOfKey(key)
	return kind == kindPool || StaysBehind(key)
}

// Stage finds out how far the move has come.
func (m *Rekeying) Stage(ctx context.Context) (Stage, error) {
	if m.From.Place == m.To.Place {
		return StageSource, errors.New("source and target are the same store")
	}
	title, err := readTitle(ctx, m.To.Store, layout{m.Tenant})
	if err != nil {
		return StageSource, err
	}
	if title != nil {
		arrived, err := StandingOf(ctx, m.Tenant, m.To.Store, m.To.Place, m.New)
		if err != nil {
			return StageSource, fmt.Errorf("the target's title to the new keys: %w", err)
		}
		if arrived != StandingLive {
			return StageSource, ErrNotLive
		}
		return StageTarget, nil
	}
	left, err := StandingOf(ctx, m.Tenant, m.From.Store, m.From.Place, m.Old)
	if err != nil {
		return StageSource, fmt.Errorf("the source's title to the old keys: %w", err)
	}
	if left == StandingLive {
		return StageSource, nil
	}
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return StageSource, err
	}
	current, err := m.Old.Generation(ctx)
	if err != nil {
		return StageSource, fmt.Errorf("the old keys' generation: %w", err)
	}
	if left != StandingSuperseded || mark == nil || current != mark.Last.generation() {
		return StageSource, ErrNotLive
	}
	return StageTold, nil
}

func (m *Rekeying) mark(ctx context.Context, s store.Store) (row *rekeyRow, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		row, err = getRow[rekeyRow](r, layout{m.Tenant}.meta(metaRekey))
		return err
	})
	return row, err
}

func (m *Rekeying) setMark(ctx context.Context, s store.Store, row *rekeyRow) error {
	return s.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return w.Set(layout{m.Tenant}.meta(metaRekey), encodeRow(row))
	})
}

// Begin marks both stores, the source first, and takes the new provider for this move. What has another mark, or rows without one, is
// left as it is.
func (m *Rekeying) Begin(ctx context.Context) error {
	want, begun, err := m.ours(ctx)
	if err != nil {
		return err
	}
	if err := m.occupied(ctx, want, begun); err != nil {
		return err
	}
	if err := m.setMark(ctx, m.From.Store, want); err != nil { // also anew: an earlier try may have fallen in the last step
		return fmt.Errorf("mark the source: %w", err)
	}
	if err := m.New.Advance(ctx, kms.Generation{}, want.First.generation()); err != nil {
		if errors.Is(err, kms.ErrClaim) {
			return ErrKeysUsed
		}
		return fmt.Errorf("take the new keys: %w", err)
	}
	return m.setMark(ctx, m.To.Store, want)
}

// ours is the mark that this move has, and whether the source has it already.
func (m *Rekeying) ours(ctx context.Context) (want *rekeyRow, begun bool, err error) {
	title, err := readTitle(ctx, m.From.Store, layout{m.Tenant})
	if err != nil {
		return nil, false, err
	}
	if title == nil {
		return nil, false, errors.New("the source was never set up: its keys were never reached")
	}
	sentinel, err := m.New.Sentinel(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("the new keys: %w", err)
	}
	if sentinel == title.Sentinel {
		return nil, false, ErrKeysUsed
	}
	was, err := m.mark(ctx, m.From.Store)
	if err != nil {
		return nil, false, err
	}
	want = &rekeyRow{
		Old: title.Sentinel, New: sentinel, From: m.From.Place, To: m.To.Place, First: generationRow{Number: 1, Instance: kms.NewID()},
	}
	if was == nil {
		return want, false, nil
	}
	if want.First = was.First; !was.is(want) {
		return nil, false, ErrOtherMove
	}
	return want, true, nil
}

// occupied refuses a target that has rows which this move did not bring, and keys that are somebody else's.
func (m *Rekeying) occupied(ctx context.Context, want *rekeyRow, begun bool) error {
	rows := layout{m.Tenant}
	err := m.To.Store.View(ctx, func(r store.Reader) error {
		mark, err := getRow[rekeyRow](r, rows.meta(metaRekey))
		if err != nil {
			return err
		}
		found, err := r.Scan(rows.prefix(), nil, 1)
		if err != nil {
			return err
		}
		if len(found) > 0 && !mark.is(want) {
			return ErrOccupied
		}
		return nil
	})
	if err != nil {
		return err
	}
	current, err := m.New.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the new keys' generation: %w", err)
	}
	if current != (kms.Generation{}) && (!begun || current != want.First.generation()) {
		return ErrKeysUsed
	}
	return nil
}

// Still notes that from now on nobody opens the source. What is copied and verified after that is all there is.
func (m *Rekeying) Still(ctx context.Context) error {
	title, err := readTitle(ctx, m.From.Store, layout{m.Tenant})
	if err != nil {
		return err
	}
	m.still = title.Generation
	return nil
}

// HandOver makes the target the live vault. It has everything of the source by now, which was seen to open. It fails with ErrUsed when the
// source did not stand still, and with ErrMissingKeys. After any other error Stage tells which of the two is the live one.
func (m *Rekeying) HandOver(ctx context.Context) error {
	if m.recast == nil || len(m.recast.missing) > 0 {
		return ErrMissingKeys
	}
	title, err := readTitle(ctx, m.From.Store, layout{m.Tenant})
	if err != nil {
		return err
	}
	current, err := m.Old.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the old keys' generation: %w", err)
	}
	if title.Generation != m.still || current != title.Generation.generation() && current != title.Pending.generation() {
		return ErrUsed
	}
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return err
	}
	if mark == nil {
		return ErrOccupied
	}
	if err := m.taken(ctx, mark); err != nil {
		return err
	}
	mark.Last = generationRow{current.Number + 1, kms.NewID()}
	for _, s := range []store.Store{m.From.Store, m.To.Store} {
		if err := m.setMark(ctx, s, mark); err != nil {
			return err
		}
	}
	if err := m.bequeath(ctx); err != nil {
		return err
	}
	if err := m.Old.Advance(ctx, current, mark.Last.generation()); err != nil {
		return fmt.Errorf("supersede the source: %w", err)
	}
	return m.Take(ctx)
}

// taken sees that the new provider is the one that this move took.
func (m *Rekeying) taken(ctx context.Context, mark *rekeyRow) error {
	sentinel, err := m.New.Sentinel(ctx)
	if err != nil {
		return fmt.Errorf("the new keys: %w", err)
	}
	current, err := m.New.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the new keys' generation: %w", err)
	}
	return kms.Claim{Sentinel: mark.New, Generation: mark.First.generation()}.Check(sentinel, current)
}

// bequeath has the log of the target signed by the new provider's key from now on.
func (m *Rekeying) bequeath(ctx context.Context) error {
	s, err := m.writer(m.To.Store)
	if err != nil {
		return err
	}
	return s.translog.Bequeath(ctx, m.New)
}

// writer is as much of a service as writes to a store's log.
func (m *Rekeying) writer(to store.Store) (*Service, error) {
	s := &Service{Options: Options{Tenant: m.Tenant, Store: to, Keys: m.Old, Clock: m.Clock, Origin: m.Origin}, rows: layout{m.Tenant}}
	return s, s.openLog()
}

// note writes an entry of the log in one Update with what it tells of.
func (m *Rekeying) note(ctx context.Context, to store.Store, operation string, effect func(store.Writer) error) error {
	s, err := m.writer(to)
	if err != nil {
		return err
	}
	d := &draft{}
	if err := s.log(d, &audit.Entry{System: itself, Operation: operation, Decision: audit.Allow}); err != nil {
		return err
	}
	return to.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return errors.Join(d.write(w), stage(w, d), effect(w))
	})
}

// Take gives the target its title, once the source is superseded.
func (m *Rekeying) Take(ctx context.Context) error {
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return err
	}
	if mark == nil {
		return ErrOccupied
	}
	if err := m.taken(ctx, mark); err != nil {
		return err
	}
	carried, err := m.Old.Mark(ctx)
	if err != nil {
		return fmt.Errorf("how far the old keys have carried out the ledger: %w", err)
	}
	if err := m.New.SetMark(ctx, kms.Mark{}, carried); err != nil {
		return fmt.Errorf("note that at the new keys: %w", err)
	}
	title := titleRow{Sentinel: mark.New, Generation: mark.First, Place: m.To.Place}
	return m.note(ctx, m.To.Store, "keys.move", func(w store.Writer) error {
		return w.Set(layout{m.Tenant}.meta(metaTitle), encodeRow(title))
	})
}

// Retired reports whether the old keys are destroyed, all that the source's rows name. Only then are erasures at the target carried out.
func (m *Rekeying) Retired(ctx context.Context) (bool, error) {
	mark, err := m.mark(ctx, m.To.Store)
	return mark == nil, err
}

// Retire destroys every old key, when the target is the live vault. Nothing that was written before, no copy of the source and no backup
// of it, opens any more. It may be repeated.
func (m *Rekeying) Retire(ctx context.Context) error {
	stage, err := m.Stage(ctx)
	if err != nil {
		return err
	}
	if stage != StageTarget {
		return ErrNotLive
	}
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil || mark == nil {
		return err
	}
	left, err := m.mark(ctx, m.From.Store)
	if err != nil {
		return err
	}
	if left == nil || *left != *mark || m.From.Place != mark.From {
		return ErrNotSource
	}
	if err := m.destroyAll(ctx, m.Old, kms.Claim{Sentinel: mark.Old, Generation: mark.Last.generation()}); err != nil {
		return fmt.Errorf("destroy the old keys: %w", err)
	}
	return m.unmark(ctx, m.To.Store, "keys.retire")
}

// Abandon gives the move up while the source is the live vault: it destroys the new keys, so that nothing at the target opens, and has
// erasures at the source go on.
func (m *Rekeying) Abandon(ctx context.Context) error {
	stage, err := m.Stage(ctx)
	if err != nil {
		return err
	}
	if stage != StageSource {
		return errors.New("the source is superseded: the move has only to be ended")
	}
	want, begun, err := m.ours(ctx)
	if err != nil || !begun {
		return err
	}
	if err := m.New.Advance(ctx, kms.Generation{}, want.First.generation()); err != nil { // it may have fallen before this
		return fmt.Errorf("take the new keys: %w", err)
	}
	if err := m.destroyAll(ctx, m.New, kms.Claim{Sentinel: want.New, Generation: want.First.generation()}); err != nil {
		return fmt.Errorf("destroy the new keys: %w", err)
	}
	return m.unmark(ctx, m.From.Store, "keys.abandon")
}

// unmark ends the move at one of its stores: from here on erasures are carried out there.
func (m *Rekeying) unmark(ctx context.Context, s store.Store, operation string) error {
	return m.note(ctx, s, operation, func(w store.Writer) error { return w.Delete(layout{m.Tenant}.meta(metaRekey)) })
}

// destroyAll destroys at one provider every key that the rows of the source name.
func (m *Rekeying) destroyAll(ctx context.Context, keys kms.Provider, claim kms.Claim) error {
	return keysIn(ctx, m.From.Store, layout{m.Tenant}, func(ids []kms.ID) error {
		for batch := range slices.Chunk(ids, destroysAtOnce) {
			if err := keys.Destroy(ctx, claim, batch...); err != nil {
				return err
			}
		}
		return nil
	})
}

// errMovedOn refuses to promote a store whose keys were moved.
var errMovedOn = errors.New("the keys of this store were moved, and its successor is on others: run the same migrate-store again")

// movedOn fails with errMovedOn for a store that a move of keys has superseded, or was about to.
func movedOn(ctx context.Context, s store.Store, tenant string, sentinel kms.Sentinel) error {
	m := Rekeying{Tenant: tenant}
	mark, err := m.mark(ctx, s)
	if err == nil && mark != nil && mark.Old == sentinel && mark.Last != (generationRow{}) {
		err = errMovedOn
	}
	return err
}

// unmoved is a provider of which no key is destroyed while its store has the mark of a move of keys: see Rekeying.
type unmoved struct {
	kms.KMS
	service *Service
}

// errKeysMove is as if the provider could not be reached: whoever wants to destroy waits and tries again.
var errKeysMove = fmt.Errorf("keys are being moved to another provider, and none is destroyed until that has ended: %w", kms.ErrUnavailable)

// Destroy implements kms.KMS.
func (u unmoved) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	moves := false
	err := u.service.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Get(u.service.rows.meta(metaRekey))
		moves = err == nil && rows[0] != nil
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("whether keys are being moved: %w", err)
	case moves:
		return errKeysMove
	}
	return u.KMS.Destroy(ctx, claim, ids...)
}
