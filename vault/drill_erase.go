package vault

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// eraseOne erases the one who is to be gone, to the end.
func (d *drill) eraseOne(ctx context.Context) (err error) {
	if d.erasure, err = d.erase(ctx, d.gone.id); err != nil {
		return err
	}
	return d.awaitErased(ctx, d.erasure)
}

// eraseAll erases whom drills made, and forgets who is erased.
func (d *drill) eraseAll(ctx context.Context, people []SubjectID) error {
	var errs []error
	for _, id := range slices.Clone(people) {
		erasure, err := d.erase(ctx, id)
		if err == nil && erasure != (ErasureID{}) {
			err = d.awaitErased(ctx, erasure)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.erased(id)
	}
	return errors.Join(errs...)
}

// erase begins the erasure of somebody whom a drill made, or finds the one that has begun. Zero: they were never registered.
// There is nobody to be asked for approval: the Update sees that no drill's person is anybody else's.
func (d *drill) erase(ctx context.Context, who SubjectID) (erasure ErasureID, err error) {
	for range maxRounds {
		var p *person
		err := d.Store.View(ctx, func(r store.Reader) (err error) {
			p, err = d.load(r, who, "")
			return err
		})
		if err != nil || p == nil {
			return ErasureID{}, err
		}
		if p.row.state != stateActive {
			return p.row.Erasure, nil
		}
		if refused := unerasable(p.row); refused != nil {
			return ErasureID{}, refused
		}
		erasure := ErasureID(id.New())
		begun, err := d.beginErasing(ctx, p, erasure)
		if told := d.cut(ctx, p); err == nil {
			err = told
		}
		d.wake()
		if err != nil || begun {
			return erasure, err
		}
	}
	return ErasureID{}, errContended
}

func (d *drill) beginErasing(ctx context.Context, p *person, erasure ErasureID) (bool, error) {
	now := stampOf(d.Clock())
	row := erasureRow{
		Subject: p.id, Ground: "other", Reason: drillReason, Keys: p.row.everyKey(), Destroys: p.row.Counts,
		At: map[string]stamp{string(api.ErasureRequested): now, string(api.ErasureErasing): now},
	}
	row.Ballot.System = itself
	out := d.lateChange(p, func(w store.Writer, inside *change) error {
		if err := d.ours(w, inside.id); err != nil {
			return err
		}
		inside.row.Erasure = erasure
		return d.enterErasing(w, inside, erasure, row)
	}).draft
	err := d.log(&out, &audit.Entry{
		System: itself, Operation: "drill.erase", Subject: p.id.String(), Objects: []string{erasure.String()},
		Decision: audit.Allow, Reason: drillReason, Kind: row.Ground,
	})
	if err != nil {
		return false, err
	}
	written, err := commit(store.With(ctx, store.Vital), d.Store, &out)
	return err == nil && written[0], err
}

// ours fails for whoever is not this drill's to erase: the row of drills must name them, and no system hold them.
func (d *drill) ours(r store.Reader, who SubjectID) error {
	row, err := d.readDrills(r)
	if err != nil {
		return err
	}
	if row.Run != d.row.Run || !slices.Contains(row.People, who) {
		return errors.New("this drill has not made them")
	}
	prefix := d.rows.of(kindHolding, who)
	return scanAll(r, prefix, func(p store.Pair) error {
		if !slices.Equal(p.Key[len(prefix):], name(itself)) {
			return fails(drillHeld, nil)
		}
		return nil
	})
}

// awaitErased waits until an erasure is at its end, which the sweeper brings it to, on whatever node.
func (d *drill) awaitErased(ctx context.Context, erasure ErasureID) error {
	return d.await(ctx, func() (bool, error) {
		row, err := d.erasureRow(ctx, erasure)
		if err != nil || row.State == api.ErasureErased {
			return true, err
		}
		d.wake()
		return false, nil
	})
}

// await asks until it is done, or fails, or the time is over.
func (d *drill) await(ctx context.Context, done func() (bool, error)) error {
	const every = 50 * time.Millisecond
	timer := time.NewTicker(every)
	defer timer.Stop()
	for {
		if over, err := done(); over || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
}
