package vault

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

const metaSaved = "saved"

// savedRow says up to when every key made is in a snapshot of the key provider that is kept.
type savedRow struct {
	Until stamp `cbor:"1,keyasint"`
}

// savedMargin is how far the clocks of the nodes, and of who takes snapshots, may be apart.
const savedMargin = time.Minute

// saved is what a node knows of the snapshots of the key provider. With Options.RequireSnapshot people get only keys that one
// contains: a provider that is restored from it has lost nobody's.
type saved struct{ until atomic.Int64 } // a stamp

// by is the time before which a key must have been made.
func (s *saved) by() time.Time {
	until := stamp(s.until.Load())
	if until == 0 {
		return time.Time{}
	}
	return until.time().Add(-savedMargin)
}

// learnSaved reads what was confirmed, on this node or another.
func (s *Service) learnSaved(ctx context.Context) error {
	return s.Store.View(ctx, func(r store.Reader) error {
		row, err := getRow[savedRow](r, s.rows.meta(metaSaved))
		if err == nil && row != nil && s.saved.until.Swap(int64(row.Until)) != int64(row.Until) {
			s.keyring.Saved()
		}
		return err
	})
}

// ConfirmSnapshot notes that a snapshot of the key provider, begun at a time, was taken whole and is kept. A later one may have
// been confirmed before; what holds is the latest.
func (s *Service) ConfirmSnapshot(ctx context.Context, call Call, req *api.ConfirmSnapshotRequest) (*api.KeySnapshot, error) {
	return underRules(ctx, s, call, func(call Call) (*api.KeySnapshot, error) { return s.confirmSnapshot(ctx, call, req) })
}

func (s *Service) confirmSnapshot(ctx context.Context, call Call, req *api.ConfirmSnapshotRequest) (*api.KeySnapshot, error) {
	r := access.Request{Action: access.ConfirmSnapshot}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if req.BegunAt.IsZero() || req.BegunAt.After(s.Clock()) {
		return nil, fault.Bad("begun_at", "when the snapshot was begun, which is over")
	}
	until := stampOf(req.BegunAt)
	_, err := s.act(ctx, call, func() (deed, error) {
		d := deed{request: r, effect: &draft{}}
		d.effect.after(func(w store.Writer) error {
			key := s.rows.meta(metaSaved)
			row, err := getRow[savedRow](w, key)
			if err != nil || row != nil && row.Until >= until {
				return err
			}
			return w.Set(key, encodeRow(&savedRow{until}))
		})
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.learnSaved(ctx); err != nil {
		return nil, err
	}
	return s.keySnapshot(), nil
}

// KeySnapshot tells up to when snapshots of the key provider contain every key, and how many keys are ready for people.
func (s *Service) KeySnapshot(ctx context.Context, call Call) (*api.KeySnapshot, error) {
	return underRules(ctx, s, call, func(call Call) (*api.KeySnapshot, error) {
		if err := s.consult(ctx, call, access.ConfirmSnapshot); err != nil {
			return nil, err
		}
		if err := s.learnSaved(ctx); err != nil {
			return nil, err
		}
		return s.keySnapshot(), nil
	})
}

func (s *Service) keySnapshot() *api.KeySnapshot {
	stats := s.keyring.Stats()
	k := &api.KeySnapshot{Required: s.RequireSnapshot, Ready: stats.Ready, Waiting: stats.Waiting}
	if until := stamp(s.saved.until.Load()); until != 0 {
		k.Until = until.time()
	}
	return k
}

// runsDry reports that few keys are left that a snapshot contains: soon nobody can be registered.
func (s *Service) runsDry() bool {
	if !s.RequireSnapshot {
		return false
	}
	stats := s.keyring.Stats()
	return stats.Ready <= (stats.Ready+stats.Waiting)/4
}
