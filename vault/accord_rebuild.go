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

// RebuildLedger makes a new erasure ledger, where there is none any more, of the erasures that the store knows, and returns how
// many it lists. It is for a ledger that is lost for good, on the store that was live when it was lost: of an older store it
// would forget whom it does not know to be erased. Other keys than people's are not listed again.
func (s *Service) RebuildLedger(ctx context.Context) (entries int, err error) {
	if s.title.standing() != StandingLive {
		return 0, errors.New("vault: rebuild the ledger: the store is not the live one")
	}
	if l, err := s.Ledger(ctx, ledger.Look); !errors.Is(err, ledger.ErrMissing) {
		if err == nil {
			err = errors.Join(ledger.ErrExists, l.Close())
		}
		return 0, fmt.Errorf("vault: rebuild the ledger: %w", err)
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
		return w.Set(s.rows.meta(metaLedger), encodeRow(markRow{m.Entries, m.Head, true}))
	})
}
