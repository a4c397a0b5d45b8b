package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// What the log calls the steps of a move of keys.
const (
	keysMoved     = "keys.move"
	keysRetired   = "keys.retire"
	keysAbandoned = "keys.abandon"
)

// Retired reports whether the old keys are destroyed, all that the source's rows name. Only then are erasures at the target carried out.
func (m *Rekeying) Retired(ctx context.Context) (bool, error) {
	mark, err := m.mark(ctx, m.To.Store)
	return mark == nil, err
}

// Retire destroys every old key, when the target is the live vault and all that is sealed there opens with the new ones. Nothing that was
// written before, no copy of the source and no backup of it, opens any more. Then it makes a key at the new provider by which
// a target that is restored from before knows it. After a try that was cut off it takes as long as Settles says. It may be repeated.
func (m *Rekeying) Retire(ctx context.Context) error {
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return err
	}
	if mark == nil {
		return m.arrived(ctx)
	}
	left, err := m.mark(ctx, m.From.Store)
	if err != nil {
		return err
	}
	if !mark.is(left) || left.Last != mark.Last || m.From.Place != mark.From {
		return ErrNotSource
	}
	if mark.Again {
		if err := m.settle(ctx); err != nil {
			return err
		}
	}
	if err := m.kept(ctx, mark); err != nil {
		return err
	}
	if err := m.arrived(ctx); err != nil { // after that: what was seen was seen at the vault's own provider
		return err
	}
	claim := kms.Claim{Sentinel: mark.Old, Generation: mark.Last.generation()}
	if err := m.destroyNamed(ctx, m.Old, claim, m.From.Store); err != nil {
		return fmt.Errorf("destroy the old keys: %w", err)
	}
	if err := m.destroyListed(ctx, claim); err != nil {
		return fmt.Errorf("destroy the old keys that the erasure ledger lists: %w", err)
	}
	if err := m.tellEnded(ctx, mark); err != nil {
		return fmt.Errorf("note at the new provider that the old keys are destroyed: %w", err)
	}
	return m.unmark(ctx, m.To.Store, keysRetired)
}

// arrived fails with ErrNotLive unless the target is the live vault.
func (m *Rekeying) arrived(ctx context.Context) error {
	stage, err := m.Stage(ctx)
	if err == nil && stage != StageTarget {
		err = ErrNotLive
	}
	return err
}

// destroyNamed destroys at one provider every key that rows of stores name.
func (m *Rekeying) destroyNamed(ctx context.Context, keys kms.Provider, claim kms.Claim, named ...store.Store) error {
	for _, s := range named {
		err := keysIn(ctx, s, layout{m.Tenant}, func(ids []kms.ID) error {
			for batch := range slices.Chunk(ids, destroysAtOnce) {
				if err := keys.Destroy(ctx, claim, batch...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// destroyListed destroys at the old provider what the erasure ledger lists. It is gone already, unless the old provider was restored
// since, and the source with it, so that no row names it any more.
func (m *Rekeying) destroyListed(ctx context.Context, claim kms.Claim) (err error) {
	l, err := m.Ledger(m.New, m.To.Store)(ctx, ledger.Look)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var doomed []kms.ID
	flush := func() error {
		if len(doomed) == 0 {
			return nil
		}
		err := m.Old.Destroy(ctx, claim, doomed...)
		doomed = doomed[:0]
		return err
	}
	err = l.Scan(ctx, 0, func(e ledger.Entry) error {
		for _, k := range e.Keys { // of an epoch, too
			if doomed = append(doomed, k); len(doomed) == destroysAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// tellEnded makes the key at the new provider that says that no old one is left. Its secret is of no use, so it does not matter by which
// try it was made.
func (m *Rekeying) tellEnded(ctx context.Context, mark *rekeyRow) error {
	there, err := hasKey(ctx, m.New, mark.Ended)
	if err != nil || there {
		return err
	}
	made, err := m.New.Create(ctx, mark.Ended)
	for _, k := range made {
		k.Secret.Wipe()
	}
	return err
}

// Abandon gives the move up while the source is the live vault, wherever it lies by now: it destroys the new keys, so that nothing at the target opens, and
// has erasures at the source go on. A source that was restored from before the move knows nothing of it; the target's mark counts
// then. Before that it waits until nothing that an earlier try asked of a provider can come to pass any more. With ErrNotBegun there is
// nothing to give up. It may be repeated.
func (m *Rekeying) Abandon(ctx context.Context) error {
	begun, err := m.unended(ctx)
	if err != nil {
		return err
	}
	m.try = kms.NewID() // a try that is still at work ends with ErrOvertaken
	if err := errors.Join(m.overtake(ctx, m.From.Store, begun), m.overtake(ctx, m.untaken(), begun)); err != nil {
		return fmt.Errorf("take the move over: %w", err)
	}
	m.since = m.Clock()
	if err := m.settle(ctx); err != nil {
		return err
	}
	mark, err := m.unended(ctx)
	if err != nil {
		return err
	}
	if err := m.owns(mark); err != nil { // it was begun again meanwhile
		return err
	}
	if err := m.New.Advance(ctx, kms.Generation{}, mark.First.generation()); err != nil { // it may have fallen before this
		return fmt.Errorf("take the new keys: %w", err)
	}
	claim := kms.Claim{Sentinel: mark.New, Generation: mark.First.generation()}
	if err := m.destroyNamed(ctx, m.New, claim, m.From.Store, m.To.Store); err != nil {
		return fmt.Errorf("destroy the new keys: %w", err)
	}
	return m.unmark(ctx, m.From.Store, keysAbandoned)
}

// errSuperseded refuses to give up a move after its last step.
var errSuperseded = errors.New("the source is superseded: the move has only to be ended")

// unended is the mark of a move that can be given up.
func (m *Rekeying) unended(ctx context.Context) (*rekeyRow, error) {
	stage, err := m.Stage(ctx)
	if err != nil {
		return nil, err
	}
	current, err := m.Old.Generation(ctx)
	if err != nil {
		return nil, fmt.Errorf("the old keys' generation: %w", err)
	}
	mark, err := m.mark(ctx, m.From.Store)
	if err == nil && mark == nil {
		mark, err = m.mark(ctx, m.To.Store)
	}
	if err != nil {
		return nil, err
	}
	if stage != StageSource || mark.stepped(current) {
		return nil, errSuperseded
	}
	if mark == nil {
		return nil, ErrNotBegun
	}
	old, err := m.Old.Sentinel(ctx)
	if err != nil {
		return nil, fmt.Errorf("the old keys: %w", err)
	}
	next, err := m.New.Sentinel(ctx)
	if err != nil {
		return nil, fmt.Errorf("the new keys: %w", err)
	}
	if mark.Old != old || mark.New != next || mark.To != m.To.Place {
		return nil, ErrOtherMove
	}
	if current.Instance == departing(old, current) { // which the mark of a source that was restored from before the step does not tell
		return nil, errSuperseded
	}
	return mark, nil
}

// unmark ends the move at one of its stores: from here on erasures are carried out there.
func (m *Rekeying) unmark(ctx context.Context, s store.Store, operation string) error {
	return m.note(ctx, s, operation, func(w store.Writer) error { return w.Delete(layout{m.Tenant}.meta(metaRekey)) })
}
