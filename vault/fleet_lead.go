package vault

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
)

// leaderRow is who leads.
type leaderRow struct {
	Node  kms.ID `cbor:"1,keyasint"`
	Fence uint64 `cbor:"2,keyasint"`
}

// lead returns the context for the vault's own work, if it is this node's to do.
func (f *fleet) lead(ctx context.Context) (context.Context, bool) {
	if f.alone {
		return ctx, true
	}
	fence := f.fence.Load()
	return context.WithValue(ctx, fenceKey{}, fence), fence != 0 && f.hold() == nil
}

type fenceKey struct{}

// errDeposed ends an Update of a leader that is none any more. Nothing was written.
var errDeposed = errors.New("another node leads by now")

// fencedStore has every Update in a leader's context expect that it still leads: in the store when it begins, and by what this node knows
// when it is about to be written. The first alone would not do where Updates run side by side, as in PostgreSQL: one that was stopped in its
// middle comes before the Update by which another took the lead, in the order of the store, and could be written after it.
type fencedStore struct {
	store.Store
	fleet *fleet
}

// Update implements store.Store.
func (s fencedStore) Update(ctx context.Context, f func(store.Writer) error) error {
	fence, leads := ctx.Value(fenceKey{}).(uint64)
	if !leads {
		return s.Store.Update(ctx, f)
	}
	return s.Store.Update(ctx, func(w store.Writer) error {
		row, err := getRow[leaderRow](w, s.fleet.service.rows.fleetLeader())
		switch {
		case err != nil:
			return err
		case row == nil || *row != leaderRow{s.fleet.id, fence}:
			return errDeposed
		}
		if err := f(w); err != nil {
			return err
		}
		if s.fleet.fence.Load() != fence || s.fleet.hold() != nil {
			return errDeposed
		}
		return nil
	})
}

// abler reports whether there is another node that does the leader's work, of which this one cannot do all.
func (f *fleet) abler(now *survey, at time.Time) bool {
	if _, _, lacks := f.lacks(); !lacks {
		return false
	}
	for id, node := range now.nodes {
		if id != f.id && !node.Unable && !f.lapsed(id, now.raw[id], at) {
			return true
		}
	}
	return false
}

// head takes the lead when nobody has it, or gives it up to whoever is abler; and as the leader removes what is over.
func (f *fleet) head(ctx context.Context, now *survey, at time.Time) error {
	s := f.service
	mine := f.fence.Load()
	switch {
	case now.leader != nil && now.leader.Node == f.id && now.leader.Fence == mine:
		if f.hold() != nil {
			return nil
		}
		if what, long, lacks := f.lacks(); lacks && long >= 10*f.term && f.abler(now, at) {
			return f.giveUp(ctx, what)
		}
		return f.tidy(ctx, now, at)
	case now.leader != nil && now.leader.Node == f.id:
		// A lead that was taken by an Update whose outcome was unknown.
		f.fence.Store(now.leader.Fence)
		return nil
	case mine != 0:
		f.fence.Store(0)
	}
	led := now.leader != nil && now.raw[now.leader.Node] != nil && !f.lapsed(now.leader.Node, now.raw[now.leader.Node], at)
	if f.hold() != nil || led || f.abler(now, at) {
		s.Observer.Nodes(len(now.nodes), false)
		return nil
	}
	next := leaderRow{Node: f.id, Fence: 1}
	if now.leader != nil {
		next.Fence = now.leader.Fence + 1
	}
	var d draft
	d.expect(s.rows.fleetLeader(), now.leaderRaw)
	d.set(s.rows.fleetLeader(), encodeRow(next))
	written, err := commit(ctx, s.Store, &d)
	if err != nil || !written[0] {
		return err
	}
	f.fence.Store(next.Fence)
	s.Observer.Nodes(len(now.nodes), true)
	s.wake()
	s.index.wake()
	return nil
}

// giveUp has an abler node lead. What is under way here finds itself deposed.
func (f *fleet) giveUp(ctx context.Context, why task) error {
	s := f.service
	s.Log.WarnContext(ctx, "this node cannot "+why.String()+", and another is not known to be unable: it gives up the lead")
	fence := f.fence.Swap(0)
	return s.Store.Update(ctx, func(w store.Writer) error { return f.vacate(w, fence) })
}

// vacate leaves the lead to whoever takes it, if this node has it by that fence. The fence stays in the row: the next is above it.
func (f *fleet) vacate(w store.Writer, fence uint64) error {
	key := f.service.rows.fleetLeader()
	leader, err := getRow[leaderRow](w, key)
	if err != nil || leader == nil || *leader != (leaderRow{f.id, fence}) {
		return err
	}
	return w.Set(key, encodeRow(leaderRow{Fence: fence}))
}
