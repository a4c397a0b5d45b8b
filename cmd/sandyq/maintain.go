package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// maintainEvery is the time between two rounds over the store. A day is short beside the life of a backup from which to
// restore what a round finds damaged, and long beside the minutes for which a round keeps the disk busy; and rows of the
// erased are in no file of the store after a day.
const maintainEvery = 24 * time.Hour

// maintainFirst is the time before the first round. Opening has just read every file; but a node that is started anew every
// day would otherwise never come to it, and what it erased would stay in its files.
const maintainFirst = time.Hour

// maintenance is the loop that looks after the store while a node is open.
type maintenance struct {
	store *badgerdb.Store
	log   *slog.Logger

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// startMaintenance begins a loop that ends with ctx, or when it is closed. The store is closed after it.
func startMaintenance(ctx context.Context, store *badgerdb.Store, log *slog.Logger, first, every time.Duration) *maintenance {
	m := &maintenance{store: store, log: log}
	ctx, m.cancel = context.WithCancel(ctx)
	m.ended.Go(func() { m.run(ctx, first, every) })
	return m
}

// Close waits for the step that runs: Badger does not let go of a compaction halfway. Whoever cannot wait may kill the
// process, for what was acknowledged is durable.
func (m *maintenance) Close() {
	m.cancel()
	m.ended.Wait()
}

func (m *maintenance) run(ctx context.Context, first, every time.Duration) {
	due := time.NewTimer(first)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		}
		if err := m.round(ctx); err != nil && ctx.Err() == nil {
			m.complain(err)
		}
		if m.store.Err() != nil {
			return // the process ends, too: serve watches the store
		}
		due.Reset(every)
	}
}

// round verifies the store before it compacts it: to a compaction, a damaged block is the end of its table, and it would
// drop the rest for good.
func (m *maintenance) round(ctx context.Context) error {
	began := time.Now()
	if err := m.store.Verify(ctx); err != nil {
		return fmt.Errorf("verify the store: %w", err)
	}
	verified := time.Now()
	if err := m.store.Compact(ctx); err != nil {
		return fmt.Errorf("compact the store: %w", err)
	}
	left, _ := m.store.Residue()
	m.log.Info("the store was verified and compacted", "verifying", verified.Sub(began), "compacting", time.Since(verified),
		"versions left", left.Versions, "deletions left", left.Deletions, "files held", left.Files)
	return nil
}

func (m *maintenance) complain(err error) {
	if errors.Is(err, badgerdb.ErrDamaged) {
		m.log.Error("the store is damaged and stops: do as docs/operations.md says under \"When the store fails\"", "error", err)
		return
	}
	m.log.Error("the store could not be looked after; the next round tries again", "error", err)
}
