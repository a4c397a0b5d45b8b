package main

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/vault"
)

// handOver makes the target, which has everything, the live vault of each tenant, and opens it. Nobody writes to the source.
func (m *moving) handOver(ctx context.Context) error {
	if len(m.left) > 0 {
		if err := errors.Join(m.alone(ctx), m.rows.Equal()); err != nil {
			return err
		}
	}
	for _, r := range m.left {
		if err := r.HandOver(ctx); err != nil {
			return supplanted(err)
		}
	}
	if err := m.target.openTenants(ctx, m.to, m.log, m.reg); err != nil {
		return err
	}
	for _, t := range m.target.Tenants {
		err := t.fit(ctx)
		if errors.Is(err, errCopy) && !m.rekeys {
			err = t.Service.Promote(ctx)
		}
		if err != nil {
			return m.target.of(t, err)
		}
	}
	for _, r := range m.left {
		if ends, ok := r.relocation.(*vault.Relocation); ok { // a move of keys ends when the old ones are destroyed
			if err := ends.End(ctx); err != nil {
				return err
			}
		}
	}
	m.target.settle(ctx)
	return nil
}

// settleFor is how long a vault that was promoted may take to be held against its erasure ledger before it is served all the same: blocks
// and erasures are taken at once.
const settleFor = 10 * time.Second

// settle waits until data is given out.
func (n *node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	for len(n.Ready(ctx).Degraded) > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}
