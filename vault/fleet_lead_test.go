package vault_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/anchor"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// cutOff is a provider that one node does not reach, or that lets it destroy nothing, while it is so.
type cutOff struct {
	kms.Provider
	now, keep *atomic.Bool
}

func (c cutOff) why() error {
	if c.now.Load() {
		return kms.ErrUnavailable
	}
	return nil
}

func (c cutOff) Sentinel(ctx context.Context) (kms.Sentinel, error) {
	if err := c.why(); err != nil {
		return kms.Sentinel{}, err
	}
	return c.Provider.Sentinel(ctx)
}

func (c cutOff) Mark(ctx context.Context) (kms.Mark, error) {
	if err := c.why(); err != nil {
		return kms.Mark{}, err
	}
	return c.Provider.Mark(ctx)
}

func (c cutOff) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	if err := c.why(); err != nil {
		return err
	}
	if c.keep.Load() {
		return errReadOnly
	}
	return c.Provider.Destroy(ctx, claim, ids...)
}

// errReadOnly is what a node gets that may read and not write.
var errReadOnly = errors.New("denied")

// cutOffLedger is a ledger that one node does not reach, or cannot write to, while it is so.
type cutOffLedger struct {
	faraway
	readOnly *atomic.Bool
}

func (c cutOffLedger) Append(ctx context.Context, entries ...ledger.Entry) (ledger.Head, error) {
	switch {
	case c.now.Load():
		return ledger.Head{}, ledger.ErrUnavailable
	case c.readOnly.Load():
		return ledger.Head{}, errReadOnly
	}
	return c.Ledger.Append(ctx, entries...)
}

// fixedAnchor is an anchor that one node cannot write to, while it is so.
type fixedAnchor struct {
	translog.Anchor
	now *atomic.Bool
}

func (f fixedAnchor) Keep(ctx context.Context, was, note []byte) (bool, error) {
	if f.now.Load() {
		return false, errReadOnly
	}
	return f.Anchor.Keep(ctx, was, note)
}

// ways are a node's to what a leader works with: each is cut off while it is true.
type ways struct{ keys, ledger, listing, anchor, destroying atomic.Bool }

// nodesApart starts some on one store, each of which can lose its way to the keys, the ledger and the anchor.
func nodesApart(t *testing.T, count int) (all []*node, lost []*ways) {
	t.Helper()
	for range count {
		lost = append(lost, &ways{})
	}
	folder := filepath.Join(t.TempDir(), "ledger")
	all = nodesOf(t, count, func(i int, o *vault.Options) {
		right := vaulttest.Ledger(folder, "test", o.Keys)
		o.Log = slog.New(slog.DiscardHandler)
		o.Keys = cutOff{o.Keys, &lost[i].keys, &lost[i].destroying}
		o.Anchor = fixedAnchor{anchor.InFolder(folder, "test"), &lost[i].anchor}
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			if err != nil {
				return nil, err
			}
			return cutOffLedger{faraway{l, &lost[i].ledger}, &lost[i].listing}, nil
		}
	})
	return all, lost
}

// somebody is whom a node registers once it is one of them.
func somebody(t *testing.T, n *node, call vault.Call) (who api.TokenizeResult) {
	t.Helper()
	eventually(t, "somebody is registered", func() bool {
		resp, err := n.Tokenize(ctx, call, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{Fields: fields{"given_name": text("Айгүл")}}}})
		if err != nil || resp.Results[0].Error != nil {
			return false
		}
		who = resp.Results[0]
		return true
	})
	return who
}

// A leader that beats and does not reach the keys or the ledger, or cannot write to the ledger or the anchor of the log or destroy keys, lets another go
// on, which does not wait for it to come back.
func TestALeaderThatCannotWorkIsFollowed(t *testing.T) {
	for name, way := range map[string]func(*ways) *atomic.Bool{
		"keys":    func(w *ways) *atomic.Bool { return &w.keys },
		"ledger":  func(w *ways) *atomic.Bool { return &w.ledger },
		"listing": func(w *ways) *atomic.Bool { return &w.listing },
		"anchor":  func(w *ways) *atomic.Bool { return &w.anchor },
		"erase":   func(w *ways) *atomic.Bool { return &w.destroying },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, lost := nodesApart(t, 2)
			away := []*atomic.Bool{way(lost[0]), way(lost[1])}
			shop := app(all[0].Vault)
			for range 3 {
				at := leader(t, all)
				was, next := all[at], all[1-at]
				who := somebody(t, next, shop)
				taken := was.leads.taken.Load()
				away[at].Store(true)
				erasure := erase(t, next.Vault, shop, who.Subject)
				time.Sleep(nodeTerm / 2)
				if !was.leads.mine.Load() {
					t.Error("the lead is given up at once")
				}
				was.Clock.Advance(10 * nodeTerm) // it takes the other for lapsed, too, until the next beat
				eventually(t, "another node leads", next.leads.mine.Load)
				eventually(t, "it carries the erasure on", func() bool {
					now, err := next.Erasure(ctx, shop, erasure.Erasure)
					return err == nil && now.State == api.ErasureErased
				})
				if !next.leads.mine.Load() || was.leads.taken.Load() != taken {
					t.Error("it was not the other that carried it on, or not it alone")
				}
				away[at].Store(false)
				if way(lost[at]) != &lost[at].keys && way(lost[at]) != &lost[at].ledger {
					was.Clock.Advance(100 * nodeTerm) // only a leader could tell that it can write again
					time.Sleep(nodeTerm)              // it takes the other for lapsed, and leads
				}
			}
			at := leader(t, all)
			last := all[1-at]
			away[1-at].Store(true)
			time.Sleep(nodeTerm / 3) // it is in its row
			all[at].Stop()
			eventually(t, "whoever is the last leads, able or not", last.leads.mine.Load)
			away[1-at].Store(false)
			erased(t, last.Vault, shop, erase(t, last.Vault, shop, somebody(t, last, shop).Subject).Erasure)
		})
	}
}

// While nobody reaches the keys the lead stays where it is.
func TestNobodyGivesUpTheLeadForNothing(t *testing.T) {
	all, lost := nodesApart(t, 2)
	shop := app(all[0].Vault)
	who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
	at := leader(t, all)
	for _, l := range lost {
		l.keys.Store(true)
	}
	erasure := erase(t, all[0].Vault, shop, who.Subject)
	for _, n := range all {
		eventually(t, "it is known that the keys are away", func() bool { return len(n.Ready(ctx).Degraded) > 0 })
	}
	time.Sleep(nodeTerm / 3) // it is in the rows
	for range 3 {
		all[at].Clock.Advance(10 * nodeTerm)
		for range 20 {
			time.Sleep(nodeTerm / 60)
			if !all[at].leads.mine.Load() || all[1-at].leads.mine.Load() {
				t.Fatal("another node leads, which can do no more")
			}
		}
	}
	lost[at].keys.Store(false)
	erased(t, all[at].Vault, shop, erasure.Erasure)
}

// A leader that ends is followed by a node that reaches the keys, when there is one.
func TestWhoReachesTheKeysLeads(t *testing.T) {
	all, lost := nodesApart(t, 3)
	for range 4 {
		at := leader(t, all)
		unable, able := (at+1)%3, (at+2)%3
		taken := all[unable].leads.taken.Load()
		lost[unable].keys.Store(true)
		eventually(t, "it is known that the keys are away", func() bool { return len(all[unable].Ready(ctx).Degraded) > 0 })
		time.Sleep(nodeTerm / 3) // it is in its row
		all[at].Stop()
		all[at].leads.mine.Store(false)
		eventually(t, "the other leads", all[able].leads.mine.Load)
		if all[unable].leads.taken.Load() != taken {
			t.Error("one that does not reach the keys has led")
		}
		lost[unable].keys.Store(false)
		all[at].Restart()
	}
}

// blurred is an anchor that shows one node something else, as often as it is told to.
type blurred struct {
	translog.Anchor
	times atomic.Int64
}

func (b *blurred) Last(ctx context.Context) ([]byte, error) {
	if b.times.Add(-1) >= 0 {
		return nil, nil
	}
	return b.Anchor.Last(ctx)
}

// A node that does not lead gives nothing out either once the anchor of the log says that the store was put back.
func TestEveryNodeLooksAtTheAnchor(t *testing.T) {
	home := t.TempDir()
	var anchors [2]blurred
	var away [2]atomic.Bool
	var logs [2]logLines
	all := nodesOf(t, 2, func(i int, o *vault.Options) {
		anchors[i].Anchor = anchor.InFolder(filepath.Join(home, "ledger"), "test")
		o.Keys, o.Anchor, o.Log = cutOff{o.Keys, &away[i], new(atomic.Bool)}, &anchors[i], slog.New(slog.NewTextHandler(&logs[i], nil))
	})
	shop := app(all[0].Vault)
	who := somebody(t, all[0], shop)
	at := leader(t, all)
	follower, seen := all[1-at], &anchors[1-at]
	eventually(t, "the log is signed", func() bool {
		note, err := seen.Anchor.Last(ctx)
		return err == nil && note != nil
	})
	gives := func() bool {
		resp, err := follower.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: who.Tokens["given_name"].Items})
		return err == nil && resp.Results[0].Error == nil
	}
	eventually(t, "the follower is one of the nodes", gives)
	look := func() { // which it does when the keys come back, and once a minute
		away[1-at].Store(true)
		eventually(t, "the keys are away", func() bool { return slices.Contains(follower.Ready(ctx).Degraded, "keys") })
		away[1-at].Store(false)
		eventually(t, "the keys are back", func() bool { return !slices.Contains(follower.Ready(ctx).Degraded, "keys") })
	}

	seen.times.Store(1) // as who looks between the leader's anchor and its store
	look()
	eventually(t, "the follower has looked", func() bool { return seen.times.Load() <= 0 })
	for range 50 {
		if degraded := follower.Ready(ctx).Degraded; len(degraded) > 0 {
			t.Fatalf("%v, though the next look showed that all is well", degraded)
		}
		time.Sleep(2 * time.Millisecond)
	}

	seen.times.Store(1 << 40)
	look()
	eventually(t, "nothing is given out", func() bool { return slices.Contains(follower.Ready(ctx).Degraded, "ledger") })
	if gives() {
		t.Error("the follower gives out")
	}
	if logs[1-at].count("ledger.s3") == 0 {
		t.Error("it does not say what may be wrong with its configuration")
	}
	if degraded := all[at].Ready(ctx).Degraded; len(degraded) > 0 {
		t.Errorf("the leader says %v: this shows nothing", degraded)
	}
	follower.Restart()
	if gives() {
		t.Error("it gives out once it is started again")
	}
	seen.times.Store(0)
	eventually(t, "it is given out again", gives)
}
