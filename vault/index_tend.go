package vault

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/store"
)

// What the log calls the steps of a rotation that begins by itself, or that a call began.
const (
	indexRotating = "index.rotate" // begun; also access.RotateIndex
	indexRotated  = "index.rotated"
	indexRebuild  = "index.rebuild" // begun, because an epoch's key is gone
)

// wake has the index tended at once.
func (x *index) wake() {
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// tendUntil begins rotations when they are due and carries them on, beside the sweeper, which has no time for it.
func (x *index) tendUntil(ctx context.Context) {
	timer := time.NewTicker(x.service.SweepEvery)
	defer timer.Stop()
	for {
		if err := x.tend(ctx); err != nil {
			x.service.complain(ctx, "carry on the rotation of the index", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-x.kick:
		}
	}
}

// tend does step after step until there is nothing to do. Only the live store is tended: a copy has no say over keys.
func (x *index) tend(ctx context.Context) error {
	ctx = store.With(ctx, store.Reading)
	for x.service.title.standing() == StandingLive {
		ctx, leads := x.service.fleet.lead(ctx)
		if !leads {
			return nil
		}
		more, err := x.step(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// step does what is to do next. Each may be repeated, and done by several nodes at once: every Update expects the row, and a
// pass also its cursor, as it was read.
func (x *index) step(ctx context.Context) (more bool, err error) {
	e, err := x.survey(ctx)
	if err != nil || e == nil {
		return false, err
	}
	if known := x.state.Load(); known != nil && !bytes.Equal(known.raw, e.raw) {
		x.state.Store(nil) // and the key of an epoch that was left goes out of memory
	}
	switch {
	case e.gone():
		return true, x.condemn(ctx, e)
	case e.row.Phase == indexMoving, e.row.Phase == indexRebuilding:
		err := x.pass(ctx, e)
		if errors.Is(err, errEpoch) { // somebody else was faster
			err = nil
		}
		return true, err
	case e.row.Phase == indexMoved:
		return true, x.finish(ctx, e)
	case x.due(e.row):
		return true, x.beginItself(ctx, e)
	}
	return false, nil
}

func (x *index) beginItself(ctx context.Context, e *epochs) error {
	if err := x.losers.wait(ctx); err != nil {
		return err
	}
	d, err := x.begin(ctx, e)
	if err != nil {
		return err
	}
	return x.record(ctx, d, indexRotating, e.row.Current, e.row.Current+1, 0)
}

// record commits a step with an entry in the log. One that is stale was done by somebody else.
func (x *index) record(ctx context.Context, d *draft, operation string, from, to uint32, entries int) error {
	err := x.service.log(d, &audit.Entry{
		System: itself, Operation: operation, Objects: []string{epochName(from), epochName(to)}, Items: entries,
		Decision: audit.Allow,
	})
	if err != nil {
		return err
	}
	_, err = commit(ctx, x.service.Store, d)
	return err
}

// finish destroys the key of the epoch that was left, and of any before, and ends the rotation.
func (x *index) finish(ctx context.Context, e *epochs) error {
	if err := x.retire(ctx, e.row.Current); err != nil {
		return err
	}
	cursor, err := x.cursor(ctx)
	if err != nil {
		return err
	}
	d := x.turn(e, indexRow{Current: e.row.Current, Since: e.row.Since, Left: e.row.Left})
	return x.record(ctx, d, indexRotated, e.row.Leaving, e.row.Current, cursor.Moved)
}

// condemn has the index rebuilt after it was found that an epoch's key is gone. Absence proves nothing by itself: the
// provider must be the one that the store was set up with.
func (x *index) condemn(ctx context.Context, e *epochs) error {
	s := x.service
	claim, live := s.title.claim()
	sentinel, err := s.Keys.Sentinel(ctx)
	switch {
	case err != nil:
		return err
	case !live || sentinel != claim.Sentinel:
		return kms.ErrClaim
	}
	next := indexRow{Current: e.row.Current, Since: stampOf(s.Clock()), Phase: indexRebuilding, Left: e.row.Left}
	switch { // of two epochs one may be open still
	case e.current != nil:
		next.Leaving = e.row.Current
	case e.leaving != nil:
		next.Leaving = e.row.Leaving
	}
	for {
		next.Current++
		err := x.make(ctx, next.Current)
		if errors.Is(err, keyring.ErrMissing) {
			continue // made by a rotation that had not begun, and gone like the others
		}
		if err != nil {
			return err
		}
		break
	}
	s.Log.ErrorContext(ctx, "the key of the search index is gone: the index is rebuilt from the records, and until then nobody is found by a value")
	x.state.Store(nil)
	return x.record(ctx, x.turn(e, next), indexRebuild, e.row.Current, next.Current, 0)
}
