package vault_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// cutOff is a provider that one node does not reach, while it is so.
type cutOff struct {
	kms.Provider
	now *atomic.Bool
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
	return c.Provider.Destroy(ctx, claim, ids...)
}

// cutOffLedger is a ledger that one node does not reach, while it is so.
type cutOffLedger struct{ faraway }

func (c cutOffLedger) Append(ctx context.Context, entries ...ledger.Entry) (ledger.Head, error) {
	if c.now.Load() {
		return ledger.Head{}, ledger.ErrUnavailable
	}
	return c.Ledger.Append(ctx, entries...)
}

// nodesApart starts some on one store, each of which can lose its way to the keys and to the ledger.
func nodesApart(t *testing.T, count int) (all []*node, keys, ledgers []*atomic.Bool) {
	t.Helper()
	for range count {
		keys, ledgers = append(keys, &atomic.Bool{}), append(ledgers, &atomic.Bool{})
	}
	folder := filepath.Join(t.TempDir(), "ledger")
	all = nodesOf(t, count, func(i int, o *vault.Options) {
		right := vaulttest.Ledger(folder, "test", o.Keys)
		o.Log = slog.New(slog.DiscardHandler)
		o.Keys = cutOff{o.Keys, keys[i]}
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			if err != nil {
				return nil, err
			}
			return cutOffLedger{faraway{l, ledgers[i]}}, nil
		}
	})
	return all, keys, ledgers
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

// A leader that beats and does not reach the keys or the ledger lets another go on, which does not wait for it to come back.
func TestALeaderThatCannotWorkIsFollowed(t *testing.T) {
	for name, which := range map[string]func(keys, ledgers []*atomic.Bool) []*atomic.Bool{
		"keys":   func(keys, _ []*atomic.Bool) []*atomic.Bool { return keys },
		"ledger": func(_, ledgers []*atomic.Bool) []*atomic.Bool { return ledgers },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, keys, ledgers := nodesApart(t, 2)
			away := which(keys, ledgers)
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
				eventually(t, "another node carries the erasure on", func() bool {
					now, err := next.Erasure(ctx, shop, erasure.Erasure)
					return err == nil && now.State == api.ErasureErased
				})
				if !next.leads.mine.Load() || was.leads.taken.Load() != taken {
					t.Error("it was not the other that carried it on, or not it alone")
				}
				away[at].Store(false)
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
	all, keys, _ := nodesApart(t, 2)
	shop := app(all[0].Vault)
	who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
	at := leader(t, all)
	for _, k := range keys {
		k.Store(true)
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
	keys[at].Store(false)
	erased(t, all[at].Vault, shop, erasure.Erasure)
}

// A leader that ends is followed by a node that reaches the keys, when there is one.
func TestWhoReachesTheKeysLeads(t *testing.T) {
	all, keys, _ := nodesApart(t, 3)
	for range 4 {
		at := leader(t, all)
		unable, able := (at+1)%3, (at+2)%3
		taken := all[unable].leads.taken.Load()
		keys[unable].Store(true)
		eventually(t, "it is known that the keys are away", func() bool { return len(all[unable].Ready(ctx).Degraded) > 0 })
		time.Sleep(nodeTerm / 3) // it is in its row
		all[at].Stop()
		all[at].leads.mine.Store(false)
		eventually(t, "the other leads", all[able].leads.mine.Load)
		if all[unable].leads.taken.Load() != taken {
			t.Error("one that does not reach the keys has led")
		}
		keys[unable].Store(false)
		all[at].Restart()
	}
}
