package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
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
//  2. The old provider goes on to a generation that no store holds, and that says so itself (departure): from this step on the source is
//     superseded and never comes back, and no backup of it is promoted, which knows of no move. The provider may carry that out long after it
//     was asked, so a step that was ever told is told again as it was, and not another.
//  3. The new provider gets the old one's mark: it never had a key of anybody whom the ledger lists up to there. The target gets a title to it
//     and is the live vault.
//
// Last, Retire destroys the old keys, once it has opened all that is sealed at the target with the new ones. That they are gone is told by a key at the new provider,
// because a backup of the target still has the mark.
//
// # Invariants
//
//   - While keys may be at both providers, which the mark of the move says in either store, no service destroys any: erasures that are
//     under way go as far as ErasureErasing, unreadable and listed in the ledger, and wait. So no key is made at the new provider for
//     anybody whose key was destroyed at the old one, nobody is told that a key is gone that is at the other provider, and a crash at
//     any step leaves nothing that needs to be known beside the two marks.
//   - Until step 2 nothing at the source is changed but for its mark. While the old keys are where step 2 begins or ends no source with the
//     mark is promoted: its target would go on beside it.
//   - What is not opened with a key of the new provider by Retire is not given up: it opens by the old keys until then. And it is opened
//     when nothing that any try asked of that provider can come to pass any more: a key that comes late might take the place of another.
//   - An old provider's key is believed for lines of the erasure ledger up to the last one before step 2: see FormerSigners.
//   - Of two tries at once the later one goes on: each has an id of its own in the marks, and whatever it writes to the target or the source, it writes
//     in an Update that sees it there. The old provider is told by a try whose id was in both marks just before.
//   - The last step is told when the new provider has every key that something at the target was read with, and no other in its place.
//   - What is in no ledger line, no row and no provider is not needed: the same command finds out how far it was and goes on.
type Rekeying struct {
	Tenant   string
	From, To Side
	Old, New kms.Provider
	Origin   string // of the log, without the tenant: as Options.Origin
	Clock    clock.Clock
	// Ledger opens the tenant's erasure ledger as a vault on these keys and this store does.
	Ledger func(keys kms.Signer, rows store.Store) OpenLedger
	// Settle is for how long a provider that is no kms.Settler may still carry out what it was asked by a try that fell; kms.Settle unless
	// it is said.
	Settle time.Duration

	try    kms.ID        // this one's, in the marks: zero before Begin
	since  time.Time     // when this try began to have the move to itself: what earlier ones asked for, they asked before
	still  generationRow // of the source when it was to stand still
	recast *Recast       // that all was copied with
}

// The ways a move of keys is refused.
var (
	// ErrKeysUsed: the new provider belongs to a vault, or another move was begun to it.
	ErrKeysUsed = errors.New("the new keys belong to another vault already")
	// ErrOtherMove: the source is marked by a move of keys to somewhere else.
	ErrOtherMove = errors.New("a move of these keys to somewhere else was begun")
	// ErrNotSource: what the source is said to be is not the store that was moved, so it does not name all of the old keys.
	ErrNotSource = errors.New("this is not the store that was moved")
	// ErrMissingKeys: keys of living people are not at the old provider, so nothing of theirs could be sealed anew; or they are not at the new
	// one, so the old ones are the last.
	ErrMissingKeys = errors.New("keys of living people are missing")
	// ErrNotBegun: neither store knows of a move of keys.
	ErrNotBegun = errors.New("no move of keys was begun between these stores")
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
	switch {
	case left != StandingSuperseded || !mark.stepped(current):
		return StageSource, ErrNotLive
	case !mark.Whole: // the last step came while all was copied once more: nobody writes to either, and that is to be ended
		return StageSource, nil
	}
	return StageTold, nil
}

// Begin marks both stores, the source first, and takes the new provider for this move. What has another mark, or rows without one, is
// left as it is. What an earlier try has told the old provider stays in the marks, and that there was one is in them from now on. If that one is still at work it
// ends with ErrOvertaken.
func (m *Rekeying) Begin(ctx context.Context) error {
	want, begun, err := m.ours(ctx)
	if err != nil {
		return err
	}
	told, err := m.occupied(ctx, want, begun)
	if err != nil {
		return err
	}
	current, err := m.Old.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the old keys' generation: %w", err)
	}
	m.try = kms.NewID()
	var mark *rekeyRow
	err = m.setMark(ctx, m.From.Store, func(was *rekeyRow) (*rekeyRow, error) {
		mark, err = want.again(was, m.try)
		if err == nil && !mark.steps(current) && told.steps(current) { // a source that was restored from before the step was told
			mark.Held, mark.Last = told.Held, told.Last
		}
		return mark, err
	})
	if err != nil {
		return fmt.Errorf("mark the source: %w", err)
	}
	if err := m.New.Advance(ctx, kms.Generation{}, mark.First.generation()); err != nil {
		if errors.Is(err, kms.ErrClaim) {
			return ErrKeysUsed
		}
		return fmt.Errorf("take the new keys: %w", err)
	}
	err = m.setMark(ctx, m.untaken(), func(was *rekeyRow) (*rekeyRow, error) {
		_, err := mark.again(was, m.try)
		return mark, err
	})
	if err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	m.since = m.Clock()
	return nil
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
		Old: title.Sentinel, New: sentinel, From: m.From.Place, To: m.To.Place,
		First: generationRow{Number: 1, Instance: kms.NewID()}, Ended: kms.NewID(),
	}
	if was == nil {
		return want, false, nil
	}
	if want.First, want.Ended = was.First, was.Ended; !was.is(want) {
		return nil, false, ErrOtherMove
	}
	return was, true, nil
}

// occupied refuses a target that has rows which this move did not bring, and keys that are somebody else's. It returns the target's mark, if
// it is of this move.
func (m *Rekeying) occupied(ctx context.Context, want *rekeyRow, begun bool) (mark *rekeyRow, err error) {
	rows := layout{m.Tenant}
	err = m.To.Store.View(ctx, func(r store.Reader) error {
		mark, err = getRow[rekeyRow](r, rows.meta(metaRekey))
		if err != nil {
			return err
		}
		found, err := r.Scan(rows.prefix(), nil, 1)
		if err != nil {
			return err
		}
		switch {
		case mark.is(want):
			return nil
		case len(found) > 0:
			return ErrOccupied
		}
		mark = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	current, err := m.New.Generation(ctx)
	if err != nil {
		return nil, fmt.Errorf("the new keys' generation: %w", err)
	}
	if current != (kms.Generation{}) && (!begun || current != want.First.generation()) {
		return nil, ErrKeysUsed
	}
	return mark, nil
}
