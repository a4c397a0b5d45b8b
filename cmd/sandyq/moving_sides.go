package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/clock"
)

// openBoth opens both sides and finds out what is left to move.
func (m *moving) openBoth(ctx context.Context) (err error) {
	if err := m.from.ready(); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if err := m.makeFolders(); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	if m.source, err = openParts(ctx, m.from, m.log, m.reg); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if m.target, err = openParts(ctx, m.to, m.log, m.reg); err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	return m.look(ctx)
}

// makeFolders makes those that are to hold rows and documents, and keyrings if they are to be there.
func (m *moving) makeFolders() error {
	if err := homeDir(m.to.Home); err != nil {
		return err
	}
	for _, dir := range m.to.dataDirs() {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	for _, of := range m.to.tenants() {
		if !m.rekeys || of.Keys.Provider != providerLocal {
			continue
		}
		if err := setUpKeyring(of); err != nil {
			return ofTenant(m.to, of, fmt.Errorf("set up the keyring: %w", err))
		}
	}
	return nil
}

// look finds out which tenants are still to be moved.
func (m *moving) look(ctx context.Context) error {
	after := m.to.tenants()
	for i, of := range m.from.tenants() {
		if err := m.lookAt(ctx, of, after[i]); err != nil {
			return ofTenant(m.from, of, err)
		}
	}
	return m.alone(ctx)
}

func (m *moving) lookAt(ctx context.Context, before, after config) error {
	old, err := openKeys(before)
	if err != nil {
		return err
	}
	m.keys = append(m.keys, old)
	from, to := vault.Side{Store: m.source.Store, Place: m.source.Place}, vault.Side{Store: m.target.Store, Place: m.target.Place}
	if m.rekeys {
		return m.lookAtKeys(ctx, after, &vault.Rekeying{
			Tenant: before.Tenant, From: from, To: to, Old: old, Origin: after.Audit.Origin, Clock: clock.System, Ledger: after.ledger,
		})
	}
	r := &vault.Relocation{Tenant: before.Tenant, From: from, To: to, Keys: old}
	stage, err := r.Stage(ctx)
	if err == nil && stage == vault.StageSource {
		m.left = append(m.left, leaving{before.Tenant, r})
	}
	return err
}

// alone refuses a source at which other processes are at work: what they write is not noted, and they would go on when this one stops.
func (m *moving) alone(ctx context.Context) error {
	shared, ok := m.source.Store.(interface {
		Others(context.Context) (int, error)
	})
	if !ok || len(m.left) == 0 {
		return nil
	}
	const looks = 20 // a connection that was just closed is there for a moment
	for n := 1; ; n++ {
		others, err := shared.Others(ctx)
		switch {
		case err != nil || others == 0:
			return err
		case n == looks:
			return hinted(fmt.Errorf("other processes have %d connections to the source", others), "stop all other nodes on it first")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// known refuses stores with rows of tenants that the configurations do not name; fresh tells that the target has no rows.
func (m *moving) known(ctx context.Context) (fresh bool, err error) {
	names := map[string]bool{}
	for _, of := range m.from.tenants() {
		names[of.Tenant] = true
	}
	for _, n := range []*node{m.source, m.target} {
		tenants, err := vault.TenantsIn(ctx, n.Store)
		if err != nil {
			return false, err
		}
		for _, t := range tenants {
			if !names[t] {
				return false, fmt.Errorf("the store %s has rows of the tenant %s, which the configurations do not name", n.storeOf(m), t)
			}
		}
		fresh = len(tenants) == 0 // the target's, at last
	}
	return fresh, nil
}

func (n *node) storeOf(m *moving) string {
	if n == m.source {
		return m.from.storeName()
	}
	return m.to.storeName()
}
