package vault_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/anchor"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
	cosigners "github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/audit/witness/litewitness"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
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

// TestWhoAsksForACertificateWaitsForWitnessesWithinBounds: the log is looked at a few times.
func TestWhoAsksForACertificateWaitsForWitnessesWithinBounds(t *testing.T) {
	t.Parallel()
	var kept *asked
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Witnesses, o.Quorum, o.SweepEvery, o.LogEvery = silent{}, 1, time.Hour, time.Hour
	}), func(o *vault.Options) {
		kept = &asked{Anchor: anchor.InFolder(filepath.Join(t.TempDir(), "anchor"), "test")}
		o.Anchor = kept
	})
	shop := app(v)
	who := register(t, v, shop, fields{"given_name": text("Асель")})
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
	erased(t, v, shop, e.Erasure)
	before := kept.times.Load()
	if _, err := v.Certificate(ctx, shop, e.Erasure); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("a certificate that no witness stands for: %v", err)
	}
	if looked := kept.times.Load() - before; looked > 15 {
		t.Errorf("the log was looked at %d times", looked)
	}
}

// TestWhoAsksForACertificateHearsAtOnceThatWitnessesAreWanting, when that is known.
func TestWhoAsksForACertificateHearsAtOnceThatWitnessesAreWanting(t *testing.T) {
	t.Parallel()
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Witnesses, o.Quorum = silent{}, 1 }))
	shop := app(v)
	who := register(t, v, shop, fields{"given_name": text("Асель")})
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
	erased(t, v, shop, e.Erasure)
	v.Clock.Advance(time.Minute)
	eventually(t, "it is known", func() bool { return slices.Contains(v.Ready(ctx).Degraded, "log") })
	began := time.Now()
	if _, err := v.Certificate(ctx, shop, e.Erasure); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("a certificate that no witness stands for: %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// lateWitnesses are those of a node, once there are any.
type lateWitnesses struct {
	circle atomic.Pointer[cosigners.Circle]
}

func (l *lateWitnesses) Submit(s translog.Submission) translog.Heard {
	if c := l.circle.Load(); c != nil {
		return c.Submit(s)
	}
	return translog.Heard{}
}

func (l *lateWitnesses) Came() <-chan struct{} {
	if c := l.circle.Load(); c != nil {
		return c.Came()
	}
	return nil
}

// TestNodesShareAWitness: of two nodes, each with a circle of its own around one real witness, the one that leads has the log cosigned,
// either gives out certificates, and the other goes on where it ended.
func TestNodesShareAWitness(t *testing.T) {
	const name = "lite.example/w"
	var late [2]lateWitnesses
	all := nodesOf(t, 2, func(i int, o *vault.Options) {
		o.Witnesses, o.Quorum, o.Log = &late[i], 1, slog.New(slog.DiscardHandler)
	})
	shop := app(all[0].Vault)
	at := leader(t, all)
	auditor := all[at].As("auditor", access.Auditor)
	var key checkpoint.Key
	eventually(t, "the log has a key", func() bool {
		keys, err := all[at].LogKeys(ctx, auditor)
		if err != nil || len(keys.Keys) == 0 {
			return false
		}
		key, err = checkpoint.ParseKey(keys.Keys[0])
		return err == nil
	})
	real := litewitness.Start(t, name, key)
	for i := range late {
		c := must[*cosigners.Circle](t)(cosigners.New([]cosigners.Witness{real}, cosigners.Options{Clock: clock.System, Log: slog.New(slog.DiscardHandler)}))
		t.Cleanup(c.Close)
		late[i].circle.Store(c)
	}
	certified := func(n *node) {
		t.Helper()
		erasure := erase(t, n.Vault, shop, somebody(t, n, shop).Subject).Erasure
		erased(t, n.Vault, shop, erasure)
		eventually(t, "there is a certificate", func() bool {
			_, err := n.Certificate(ctx, shop, erasure)
			return err == nil
		})
		note := must[[]byte](t)(n.LogCheckpoint(ctx, n.As("auditor", access.Auditor)))
		if tree := must[checkpoint.Tree](t)(checkpoint.ReadTree(note)); tree.Size == 0 || !strings.Contains(string(note), "\n— "+name+" ") {
			t.Errorf("no witness has cosigned\n%s", note)
		}
	}
	certified(all[1-at])
	certified(all[at])
	all[at].Stop()
	eventually(t, "the other leads", all[1-at].leads.mine.Load)
	certified(all[1-at])
}
