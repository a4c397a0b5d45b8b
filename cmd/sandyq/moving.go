package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/move"
)

// moving is a move of a vault's rows and documents, and of its keys if they differ, from the store of one configuration to that of another.
type moving struct {
	env      *env
	from, to config
	rekeys   bool // the keys move, too
	retires  bool // the old ones are then destroyed
	log      *slog.Logger
	reg      *metrics.Registry

	source, target *node             // parts without tenants, but for those that are served
	left           []leaving         // of the tenants that are not moved
	rekeyed        []*vault.Rekeying // of all tenants; none when the keys stay
	keys           []kms.Provider    // that these and those of left use
	recasts        vault.Recasts     // of left; nil when the keys stay
	rows           *move.Rows
	blobs          *move.Blobs // nil: the documents stay where they are
	pace           pace
}

// leaving is the move of one tenant.
type leaving struct {
	tenant string
	relocation
}

// relocation is what two stores are to their keys meanwhile: a vault.Relocation or a vault.Rekeying.
type relocation interface {
	Prefix() []byte
	Begin(context.Context) error
	Still(context.Context) error
	HandOver(context.Context) error
}

// newMoving sees that two configurations are of one vault.
func newMoving(e *env, from, to config) (*moving, error) {
	rekeys, err := sameVault(from, to)
	if err != nil {
		return nil, err
	}
	for _, c := range []config{from, to} {
		if err := c.checkRules(); err != nil {
			return nil, err
		}
	}
	return &moving{env: e, from: from, to: to, rekeys: rekeys, log: e.log(to), reg: newMetrics()}, nil
}

// open opens both sides, finds out what is left to move, and begins.
func (m *moving) open(ctx context.Context) error {
	if err := m.openBoth(ctx); err != nil {
		return err
	}
	return m.begin(ctx)
}

// begin marks the target, unless it is another vault's, and makes the moves of rows and documents.
func (m *moving) begin(ctx context.Context) error {
	if len(m.left) == 0 {
		return nil
	}
	fresh, err := m.known(ctx)
	if err != nil {
		return err
	}
	if !m.sameDocuments() {
		if err := m.beginBlobs(ctx, fresh); err != nil {
			return err
		}
	}
	m.rows = &move.Rows{From: m.source.Store, To: m.target.Store, Own: vault.StaysBehind, Kind: vault.KindOfRow, Progress: m.pace.add}
	var tenants []string
	for _, r := range m.left {
		if err := r.Begin(ctx); err != nil {
			return occupied(err)
		}
		m.rows.Under = append(m.rows.Under, r.Prefix())
		tenants = append(tenants, r.tenant)
	}
	m.rows.Fence = vault.Untaken(tenants...)
	if m.rekeys {
		return m.recast(ctx)
	}
	return nil
}

func occupied(err error) error {
	if errors.Is(err, vault.ErrOccupied) {
		return hinted(err, "name an empty store in --to; what is in this one was left as it is")
	}
	return err
}

// beginBlobs makes the move of documents. What is not ours is left as it is.
func (m *moving) beginBlobs(ctx context.Context, fresh bool) error {
	if fresh {
		if err := m.target.Blobs.List(ctx, func(blob.Info) error { return vault.ErrOccupied }); err != nil {
			return occupied(fmt.Errorf("the place of the documents: %w", err))
		}
	}
	m.blobs = &move.Blobs{
		From: m.source.Blobs, To: m.target.Blobs, Progress: m.pace.add,
		// The documents of tenants that were moved before may be more by now.
		Keep: len(m.left) < len(m.from.tenants()),
	}
	return nil
}

// still notes that nobody uses the source from now on.
func (m *moving) still(ctx context.Context) error {
	for _, r := range m.left {
		if err := r.Still(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copyAll copies and verifies everything. Of what is written to the source meanwhile it takes along what it meets.
func (m *moving) copyAll(ctx context.Context) error {
	if len(m.left) == 0 {
		return nil
	}
	if err := m.step(ctx, "copying", m.copyOnce); err != nil {
		return err
	}
	return m.step(ctx, "verifying", m.verify)
}

func (m *moving) copyOnce(ctx context.Context) error {
	changes, err := m.rows.Copy(ctx)
	if err != nil {
		return err
	}
	m.log.Info("the rows were copied", "rows", changes.Rows, "written", changes.Written, "deleted", changes.Deleted)
	if err := m.ahead(ctx); err != nil || m.blobs == nil {
		return err
	}
	return m.blobs.Copy(ctx)
}

func (m *moving) verify(ctx context.Context) error {
	if _, err := m.rows.Verify(ctx); err != nil {
		return err
	}
	if err := m.ahead(ctx); err != nil || m.blobs == nil {
		return err
	}
	return m.blobs.Verify(ctx)
}

// ahead fails when another try goes on with the move, or has ended it. Documents have no Updates in which that could be asked, and rows have none when there
// is nothing to write.
func (m *moving) ahead(ctx context.Context) error { return m.target.Store.View(ctx, m.rows.Fence) }

// step does one, and tells how far it is.
func (m *moving) step(ctx context.Context, name string, do func(context.Context) error) error {
	began := time.Now()
	stop := m.pace.tell(m.log, name)
	err := do(ctx)
	stop()
	if err != nil {
		return err
	}
	m.log.Info("done with "+name, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// answer is what was moved.
func (m *moving) answer() *moved {
	out := &moved{From: m.from.storeName(), To: m.to.storeName(), Moved: len(m.left) > 0, Rekeyed: m.rekeys}
	if out.Moved {
		out.counted(m.rows, m.blobs)
	}
	return out
}

// Close closes both sides. Calls in flight must have ended.
func (m *moving) Close() error {
	var errs []error
	for _, c := range m.recasts {
		c.Close()
	}
	for _, n := range []*node{m.target, m.source} { // the source keeps others out until the target is closed
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	for _, k := range m.keys {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}
