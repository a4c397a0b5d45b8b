package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// RebuildLedger makes a new erasure ledger, in the place of one that is lost for good, of the erasures that the store knows, and
// returns how many it lists. It is for the store that was live when the ledger was lost: of an older store it would forget whom
// that does not know to be erased. Other keys than people's are not listed again. It calls aside to put away what lies
// there. With ledger.ErrExists it refuses to replace a ledger that holds all that the store and the keys have carried out.
func (s *Service) RebuildLedger(ctx context.Context, aside func() error) (entries int, err error) {
	if s.title.standing() != StandingLive {
		return 0, errors.New("vault: rebuild the ledger: the store is not the live one")
	}
	switch err := s.seeLedger(ctx); {
	case err == nil:
		return 0, fmt.Errorf("vault: rebuild the ledger: it holds all that the store and the keys have carried out: %w", ledger.ErrExists)
	case errors.Is(err, ledger.ErrMissing):
	case foreign(err), errors.Is(err, ledger.ErrDamaged):
		if err := aside(); err != nil {
			return 0, fmt.Errorf("vault: rebuild the ledger: put aside what lies there: %w", err)
		}
	default:
		return 0, fmt.Errorf("vault: rebuild the ledger: see whether it is lost: %w", err)
	}
	fresh, err := s.Ledger(ctx, ledger.Create)
	if err != nil {
		return 0, fmt.Errorf("vault: rebuild the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	var d draft
	err = s.log(&d, &audit.Entry{System: itself, Operation: "ledger.rebuilt", Decision: audit.Allow})
	if err == nil {
		_, err = commit(ctx, s.Store, &d)
	}
	if err != nil {
		return 0, fmt.Errorf("vault: rebuild the ledger: %w", err)
	}
	if err := s.relist(ctx, fresh); err != nil {
		return 0, fmt.Errorf("vault: rebuild the ledger: %w", err)
	}
	head, err := fresh.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("vault: rebuild the ledger: %w", err)
	}
	return int(head.Entries), s.pin(ctx, markOf(head))
}

// seeLedger reads the ledger that lies there, and holds both marks against it.
func (s *Service) seeLedger(ctx context.Context) error {
	row, err := s.accord.mark(ctx)
	if err != nil {
		return err
	}
	theirs, err := s.Keys.Mark(ctx)
	if err != nil {
		return err
	}
	l, err := s.Ledger(ctx, ledger.Look)
	if err != nil {
		return err
	}
	_, err = row.within(ctx, l, theirs)
	return errors.Join(err, l.Close())
}

// relist lists every erasure whose keys were to be destroyed.
func (s *Service) relist(ctx context.Context, into ledger.Ledger) error {
	prefix := s.rows.key(kindErasure)
	for after := []byte(nil); ; {
		var pairs []store.Pair
		var some []ledger.Entry
		err := s.Store.View(ctx, func(r store.Reader) (err error) {
			some = some[:0]
			if pairs, err = r.Scan(prefix, after, 200); err != nil {
				return err
			}
			for _, p := range pairs {
				row, err := decodeRow[erasureRow](p.Value)
				if err != nil {
					return err
				}
				if row.State != api.ErasureRequested && row.State != api.ErasureCancelled && len(row.Keys) > 0 {
					some = append(some, erasureEntry(ErasureID(p.Key[len(prefix):]), row))
				}
			}
			if len(pairs) > 0 {
				after = append([]byte(nil), pairs[len(pairs)-1].Key...)
			}
			return nil
		})
		if err != nil || len(pairs) == 0 {
			return err
		}
		if len(some) > 0 {
			if _, err := into.Append(ctx, some...); err != nil {
				return err
			}
		}
	}
}

// pin has both sides hold a mark in a new ledger, whatever they held.
func (s *Service) pin(ctx context.Context, m kms.Mark) error {
	was, err := s.Keys.Mark(ctx)
	if err != nil {
		return err
	}
	if err := s.Keys.SetMark(ctx, was, m); err != nil {
		return err
	}
	return s.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		return errors.Join(
			w.Set(s.rows.meta(metaLedger), encodeRow(markRow{m.Entries, m.Head, true})),
			w.Delete(s.rows.meta(metaSigners)), // of it they have signed nothing
		)
	})
}
