package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/store"
)

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
// source did not stand still, with ErrMissingKeys, with ErrOvertaken, and with ErrSupplanted: for that it opens each of the new keys once more at which Recast.Look has not looked. After any other
// error Stage tells which of the two is the live one.
func (m *Rekeying) HandOver(ctx context.Context) error {
	if m.recast == nil || len(m.recast.missing) > 0 {
		return fmt.Errorf("at the old provider: %w", ErrMissingKeys)
	}
	title, err := readTitle(ctx, m.From.Store, layout{m.Tenant})
	if err != nil {
		return err
	}
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return err
	}
	if mark == nil {
		return ErrOccupied
	}
	if err := m.owns(mark); err != nil {
		return err
	}
	current, err := m.Old.Generation(ctx)
	if err != nil {
		return fmt.Errorf("the old keys' generation: %w", err)
	}
	live := current == title.Generation.generation() || current == title.Pending.generation()
	if title.Generation != m.still || !live && !mark.stepped(current) {
		return ErrUsed
	}
	if err := m.taken(ctx, mark); err != nil {
		return err
	}
	if !mark.steps(current) { // else it may have been told, and is told again
		mark.Held, mark.Last = generationRow(current), generationRow(departure(current, mark.Old))
	}
	mark.Again = mark.Again || !m.recast.new.unanswered.IsZero()
	if err := m.recast.Look(ctx); err != nil {
		return fmt.Errorf("the source is the live vault still: %w", err)
	}
	err = m.setMark(ctx, m.From.Store, func(was *rekeyRow) (*rekeyRow, error) { return mark, m.owns(was) })
	if err != nil { // from here on it is not promoted
		return fmt.Errorf("mark the source: %w", err)
	}
	if err := m.bequeath(ctx); err != nil {
		return err
	}
	if err := m.complete(ctx, mark); err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	if err := m.Old.Advance(ctx, mark.Held.generation(), mark.Last.generation()); err != nil {
		return fmt.Errorf("supersede the source: %w", err)
	}
	return m.Take(ctx)
}

// complete notes that the target has everything, and up to where the old keys may have signed the erasure ledger.
func (m *Rekeying) complete(ctx context.Context, mark *rekeyRow) error {
	signers, err := m.signers(ctx, mark)
	if err != nil {
		return err
	}
	whole := *mark
	whole.Whole = true
	rows := layout{m.Tenant}
	return m.target().Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return errors.Join(w.Set(rows.meta(metaSigners), encodeRow(signers)), w.Set(rows.meta(metaRekey), encodeRow(whole)))
	})
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
	s, err := m.writer(m.target())
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

// Take gives the target its title, once the source is superseded. Another try than the one that handed over takes it over.
func (m *Rekeying) Take(ctx context.Context) error {
	mark, err := m.mark(ctx, m.To.Store)
	if err != nil {
		return err
	}
	if mark == nil {
		return ErrOccupied
	}
	if m.try.IsZero() {
		m.try = kms.NewID()
		if err := m.overtake(ctx, m.untaken(), mark); err != nil {
			return fmt.Errorf("mark the target: %w", err)
		}
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
	return m.note(ctx, m.target(), keysMoved, func(w store.Writer) error {
		return w.Set(layout{m.Tenant}.meta(metaTitle), encodeRow(title))
	})
}
