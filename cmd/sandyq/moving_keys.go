package main

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/store"
)

// lookAtKeys finds out how far the move of a tenant's keys has come, and ends the step that makes the target the live vault if it fell in
// between.
func (m *moving) lookAtKeys(ctx context.Context, after config, r *vault.Rekeying) (err error) {
	if r.New, err = openKeys(after); err != nil {
		return err
	}
	m.keys = append(m.keys, r.New)
	m.rekeyed = append(m.rekeyed, r)
	stage, err := r.Stage(ctx)
	switch {
	case err != nil:
		return err
	case stage == vault.StageTold:
		return r.Take(ctx)
	case stage == vault.StageSource:
		m.left = append(m.left, leaving{r.Tenant, r})
	}
	return nil
}

// recast has the target's rows sealed under the new keys.
func (m *moving) recast(ctx context.Context) error {
	m.recasts = vault.Recasts{}
	var fences []func(store.Reader) error
	for _, r := range m.left {
		rekeying := r.relocation.(*vault.Rekeying)
		c, err := rekeying.Recast(ctx)
		if err != nil {
			return err
		}
		m.recasts[string(r.Prefix())] = c
		fences = append(fences, rekeying.Fence)
	}
	m.rows.Recast, m.rows.Own = m.recasts, vault.StaysWithKeys
	m.rows.Fence = func(to store.Reader) error {
		for _, fence := range fences {
			if err := fence(to); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// lostToAnother reports whether a move failed because another try goes on with it, or has ended it.
func lostToAnother(err error) bool {
	return errors.Is(err, vault.ErrOvertaken) || errors.Is(err, vault.ErrTaken)
}

// supplanted says what is to be done about new keys that are not there any more.
func supplanted(err error) error {
	if errors.Is(err, vault.ErrSupplanted) {
		return hinted(err, "nothing is lost: find out what happened at the new provider, and run the same command again, which seals anew what does not open")
	}
	return err
}

// retire destroys the old keys, unless that is left to another time, and tells whether none is left of any tenant.
func (m *moving) retire(ctx context.Context) (retired bool, err error) {
	retired = true
	for _, r := range m.rekeyed {
		if m.retires {
			if err := m.retireOne(ctx, r); err != nil {
				return false, err
			}
		}
		ended, err := r.Retired(ctx)
		if err != nil {
			return false, err
		}
		retired = retired && ended
	}
	return retired, nil
}

func (m *moving) retireOne(ctx context.Context, r *vault.Rekeying) error {
	wait, err := r.Settles(ctx)
	if err != nil {
		return err
	}
	if wait > 0 {
		m.log.Info("an earlier try was cut off: the old keys are destroyed when nothing that it asked of the new provider can come any more",
			"tenant", r.Tenant, "in", wait.Round(time.Second))
	}
	return r.Retire(ctx)
}

// keepRetiring destroys the old keys while the target is served, until it has succeeded.
func (m *moving) keepRetiring(ctx context.Context) {
	for ctx.Err() == nil {
		retired, err := m.retire(ctx)
		switch {
		case retired:
			m.log.Info("the old keys are destroyed: erasures go on")
			return
		case err == nil:
			m.log.Warn("the old keys are still there, and erasures wait: run the same command with --retire")
			return
		case ctx.Err() != nil:
			return
		}
		m.log.Error("the old keys could not be destroyed; erasures wait, and it is tried again", "error", err, "in", copyAgain)
		select {
		case <-ctx.Done():
		case <-time.After(copyAgain):
		}
	}
}

// abandon gives up a move of keys, of every tenant that is not moved.
func (m *moving) abandon(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, m.Close()) }()
	if !m.rekeys {
		return usagef("--abandon is for a move of keys: what was copied to another store can just be removed")
	}
	if err := m.openBoth(ctx); err != nil {
		return err
	}
	if len(m.left) < len(m.rekeyed) {
		return errors.New("the source is superseded: the move can only be ended")
	}
	m.log.Info("nothing is destroyed before what an earlier try asked of the new keys has come to an end", "takes at most", kms.Settle)
	given := false // a move of several tenants may have been begun of some
	for _, r := range m.rekeyed {
		err := r.Abandon(ctx)
		if err != nil && !errors.Is(err, vault.ErrNotBegun) {
			return err
		}
		given = given || err == nil
	}
	if !given {
		return vault.ErrNotBegun
	}
	return nil
}
