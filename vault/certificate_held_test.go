package vault_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/anchor"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// silent are witnesses that cosign nothing.
type silent struct{}

func (silent) Submit(translog.Submission) translog.Heard { return translog.Heard{} }
func (silent) Came() <-chan struct{}                     { return nil }

// asked is an anchor that counts how often it is read.
type asked struct {
	translog.Anchor
	times atomic.Int64
}

func (a *asked) Last(ctx context.Context) ([]byte, error) {
	a.times.Add(1)
	return a.Anchor.Last(ctx)
}

// sweeps hears of each sweep.
type sweeps struct {
	bell
	ended chan struct{}
}

func (s *sweeps) Backlog(int, time.Duration) {
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// TestErasuresThatWaitForWitnessesHoldUpNoSweep: however many there are, a sweep does not have the log looked at for each.
func TestErasuresThatWaitForWitnessesHoldUpNoSweep(t *testing.T) {
	const people = 40
	heard := &sweeps{ended: make(chan struct{})}
	var kept *asked
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Witnesses, o.Quorum, o.Observer, o.LogEvery = silent{}, 1, heard, time.Hour
	}), func(o *vault.Options) {
		kept = &asked{Anchor: anchor.InFolder(filepath.Join(t.TempDir(), "anchor"), "test")}
		o.Anchor = kept
	})
	shop := app(v)
	for range people {
		who := register(t, v, shop, fields{"given_name": text("Асель")})
		e := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
		erased(t, v, shop, e.Erasure)
	}
	most := int64(0)
	for range 10 {
		<-heard.ended
		before := kept.times.Load()
		<-heard.ended
		most = max(most, kept.times.Load()-before)
	}
	if most > people/4 {
		t.Errorf("the anchor was read %d times in a sweep", most)
	}
}
