package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// destroysAtOnce is how many keys one call of the provider destroys or looks for.
const destroysAtOnce = 64

// destroy destroys keys that were in use. It is the one way to do so: before the first of them goes the erasure ledger says
// so, durably, and when it returns nil the provider has shown every one to be gone. It may be repeated. A copy that replays
// the ledger destroys nothing and sees that they are gone.
func (s *Service) destroy(ctx context.Context, entries ...ledger.Entry) error {
	entries = slices.DeleteFunc(entries, func(e ledger.Entry) bool { return len(e.Keys) == 0 })
	var doomed []kms.ID
	for _, e := range entries {
		doomed = append(doomed, e.Keys...)
	}
	if len(doomed) == 0 {
		return nil
	}
	if s.replays() {
		return s.seeGone(ctx, doomed)
	}
	numbers, err := s.list(ctx, entries...)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(doomed, destroysAtOnce) {
		err := s.keyring.Destroy(ctx, batch...)
		if ctx.Err() == nil {
			s.fleet.can(destroying, err == nil)
		}
		if err != nil {
			return err
		}
	}
	s.accord.progress.add(numbers...)
	return nil
}

// list appends entries to the erasure ledger, with one sync, and returns their numbers. What is listed already is not listed
// again.
func (s *Service) list(ctx context.Context, entries ...ledger.Entry) (numbers []uint64, err error) {
	if _, live := s.title.claim(); !live {
		return nil, fmt.Errorf("the store is not known to be the live one: %w", kms.ErrUnavailable)
	}
	if err := s.accord.hold(); err != nil {
		return nil, err
	}
	listed, err := s.accord.opened()
	if err != nil {
		return nil, err
	}
	var fresh []ledger.Entry
	for _, e := range entries {
		_, found, err := listed.Find(ctx, e.Ref)
		if err != nil {
			return nil, fmt.Errorf("look into the erasure ledger: %w", err)
		}
		if !found {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) > 0 {
		at, err := s.logPosition(ctx)
		if err != nil {
			return nil, err
		}
		for i := range fresh {
			fresh[i].Log = at
		}
		_, err = listed.Append(ctx, fresh...)
		s.fleet.canList(ctx, err)
		if err != nil {
			return nil, fmt.Errorf("write to the erasure ledger: %w", err)
		}
	}
	for _, e := range entries {
		number, found, err := listed.Find(ctx, e.Ref)
		if err == nil && !found {
			err = errors.New("it is not there")
		}
		if err != nil {
			return nil, fmt.Errorf("find what was written to the erasure ledger: %w", err)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}

// logPosition is where the transparency log stands: an entry of the ledger is chained to it.
func (s *Service) logPosition(ctx context.Context) (ledger.Position, error) {
	head, err := s.translog.Head(ctx)
	if errors.Is(err, translog.ErrAbsent) {
		return ledger.Position{}, nil
	}
	if err != nil {
		return ledger.Position{}, fmt.Errorf("where the log stands: %w", err)
	}
	return ledger.Position{Origin: head.Origin, Size: head.Size, Root: head.Root}, nil
}

// keyEntry lists one key that is no person's: nothing in it leads to whom or what it served.
func keyEntry(k kms.ID) ledger.Entry {
	return ledger.Entry{Kind: ledger.Key, Ref: k.String(), Keys: []kms.ID{k}}
}

// errBack reports a key that the ledger lists and that opens.
var errBack = errors.New("a key that was destroyed is there again: the keys were restored from an older state")

// seeGone sees that a provider that still is the store's own has none of these keys. It is for copies, which may not destroy.
func (s *Service) seeGone(ctx context.Context, ids []kms.ID) error {
	row, err := readTitle(ctx, s.Store, s.rows)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, destroysAtOnce) {
		keys, err := s.Keys.Open(ctx, batch...)
		if err != nil {
			return fmt.Errorf("look for destroyed keys: %w", err)
		}
		for _, k := range keys {
			k.Secret.Wipe()
		}
		if slices.ContainsFunc(keys, func(k kms.Key) bool { return !k.Missing() }) {
			return errBack
		}
	}
	sentinel, err := s.Keys.Sentinel(ctx)
	if err != nil {
		return fmt.Errorf("look for destroyed keys: %w", err)
	}
	if row == nil || sentinel != row.Sentinel {
		return kms.ErrClaim
	}
	return nil
}

// replays reports whether this is a copy that may bring its own rows up to the ledger.
func (s *Service) replays() bool { return s.Replay && s.title.standing() == StandingCopy }

// erasureEntry is what the ledger lists of an erasure.
func erasureEntry(id ErasureID, row *erasureRow) ledger.Entry {
	e := ledger.Entry{Kind: ledger.Subject, Ref: id.String(), Subject: row.Subject.String(), Slices: row.Slices}
	if row.Slices != nil {
		e.Kind = ledger.Slices
	}
	for _, k := range row.Keys {
		e.Keys = append(e.Keys, k)
	}
	return e
}

// listErasures lists what is about to be destroyed, so that a sweep shares one sync.
func (s *Service) listErasures(ctx context.Context, ids []ErasureID) error {
	if s.replays() {
		return nil
	}
	const atOnce = 500
	var entries []ledger.Entry
	for batch := range slices.Chunk(ids, atOnce) {
		entries = entries[:0]
		err := s.Store.View(ctx, func(r store.Reader) error {
			entries = entries[:0]
			for _, id := range batch {
				row, err := getRow[erasureRow](r, s.rows.erasure(id))
				if err != nil {
					return err
				}
				if row != nil && row.State == api.ErasureErasing && len(row.Keys) > 0 {
					entries = append(entries, erasureEntry(id, row))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			if _, err := s.list(ctx, entries...); err != nil {
				return err
			}
		}
	}
	return nil
}
