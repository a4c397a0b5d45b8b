package badgerdb

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/vault/store"
)

// Compact rewrites the tables, so that what was deleted or overwritten before the call is in no file any more (unless a
// View that began earlier still runs), and measures whether that is so. What the disk keeps of the files it removed is
// beyond it. It takes as much free space as the tables hold, answers store.ErrNoSpace when that would reach into the
// reserve, and lets Updates and Views go on except for a pause of both while the memtable is flushed. Badger cannot be
// interrupted within a step, so it may end long after ctx; Close waits for it.
func (s *Store) Compact(ctx context.Context) error {
	if s.opt.ReadOnly {
		return ErrReadOnly
	}
	s.compacting.Lock()
	defer s.compacting.Unlock()
	began, _ := s.snapshots.state()
	stuck, err := s.mergeAndMeasure(ctx, began)
	if err != nil || len(stuck) == 0 {
		return err
	}
	if err := s.touch(ctx, stuck); err != nil {
		return fmt.Errorf("badgerdb: writing again what is left: %w", err)
	}
	_, err = s.mergeAndMeasure(ctx, began)
	return err
}

// mergeAndMeasure returns keys of which something is left that a merge should have dropped.
func (s *Store) mergeAndMeasure(ctx context.Context, began uint64) (stuck [][]byte, err error) {
	if err := s.merge(ctx); err != nil {
		return nil, fmt.Errorf("badgerdb: compacting: %w", err)
	}
	if stuck, err = s.measure(ctx, began); err != nil {
		return nil, fmt.Errorf("badgerdb: measuring what is left: %w", err)
	}
	return stuck, nil
}

// merge flushes the memtable and merges all levels.
func (s *Store) merge(ctx context.Context) error {
	// Held to the end, so that Close waits. What was deleted before the call is no newer, and may be dropped all the same.
	version, err := s.snapshots.acquire()
	if err != nil {
		return err
	}
	defer s.snapshots.release(version)
	if err := s.Err(); err != nil {
		return err
	}
	if err := s.roomToCompact(); err != nil {
		return err
	}
	_, droppable := s.snapshots.state()
	s.db.SetDiscardTs(droppable) // Views may have ended since the last group
	// The first pass empties level 0 while all goes on, so that the pause is short; the last merges what it flushed.
	for _, step := range []func() error{s.flatten, s.flush, s.flatten} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return s.Err()
}

func (s *Store) roomToCompact() error {
	sp, err := newSpace(s.db, s.opt)
	if err != nil {
		return err
	}
	sp.sample()
	sp.need += total(s.db.Levels())
	return sp.check(store.Vital)
}

func (s *Store) flatten() error { return s.db.Flatten(1) }

// flush writes the memtable to a table and removes its log. Badger does that when a memtable is full, when it closes,
// and before it drops a prefix: so we write a row of our own and drop it.
func (s *Store) flush() error {
	s.committing.Lock()
	defer s.committing.Unlock()
	version, droppable := s.snapshots.state()
	if version == 0 {
		return nil // never written to
	}
	s.db.SetDiscardTs(droppable)
	scrap := []byte{scrapPrefix}
	txn := s.db.NewTransactionAt(version, true)
	defer txn.Discard()
	if err := txn.Set(scrap, nil); err != nil {
		return err
	}
	if err := txn.CommitAt(version, nil); err != nil {
		s.fail(err)
		return err
	}
	if err := s.db.DropPrefix(scrap); err != nil {
		s.fail(err) // Badger may be left without a memtable
		return err
	}
	return s.noteFirstLog()
}
