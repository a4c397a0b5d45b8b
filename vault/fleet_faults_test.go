package vault_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// askedTwice is a call that cuts what is streamed of a person, asked of one node and then of another.
type askedTwice struct {
	operation string // in the log
	updates   int64  // until it is written
	ask       func(ctx context.Context, n *node, shop vault.Call, who api.TokenizeResult, consent string) error
}

// A withdrawal or an erasure that was written, and whose node then died before it told the others, is told by the node that is asked
// again.
func TestWhatIsAskedAgainIsFeltOnEveryNode(t *testing.T) {
	for name, c := range map[string]askedTwice{
		"withdrawal": {"consent.withdraw", 1, func(ctx context.Context, n *node, shop vault.Call, who api.TokenizeResult, consent string) error {
			_, err := n.WithdrawConsent(ctx, shop, who.Subject, consent, &api.WithdrawRequest{Reason: "asked"})
			return err
		}},
		"erasure": {"erasure.request", 2, func(ctx context.Context, n *node, shop vault.Call, who api.TokenizeResult, _ string) error {
			_, err := n.RequestErasure(ctx, keyed(shop, "erase"), &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				if c.askAgain(t) {
					return
				}
			}
			t.Fatal("each time a node had lapsed before it was asked again: this shows nothing")
		})
	}
}

// keyed is a call under an idempotency key.
func keyed(call vault.Call, key string) vault.Call {
	call.Key, call.Body = key, []byte(key)
	return call
}

// askAgain reports whether it could be seen: neither the node that streams nor the one that dies has lapsed before.
func (c askedTwice) askAgain(t *testing.T) bool {
	t.Helper()
	all := nodesOf(t, 3, func(_ int, o *vault.Options) { // nobody carries on what waits for approval, and so tells of it
		o.Approvals = map[string]vault.Approval{vault.ApproveErasure: {Needed: 1, Life: time.Hour}}
	})
	shop := app(all[0].Vault)
	who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
	other := register(t, all[0].Vault, shop, fields{"given_name": text("Болат")})
	consent := record(t, all[0].Vault, shop, who.Subject, consentTo(all[0].Vault, "registration"))
	scan := put(t, all[0], shop, who.Subject)
	first := &api.ErasureRequest{Subject: other.Subject, Ground: "request", Reason: "asked"}
	patiently(t, all[0].Vault, func() (*api.Erasure, error) { return all[0].RequestErasure(ctx, keyed(shop, "first"), first) }) // from here on the day has its key
	before := len(trail(t, all[1].Vault, c.operation))
	streamed := stream(t, all[2], shop, scan.Token)
	var left atomic.Int64
	left.Store(c.updates)
	if err := c.ask(context.WithValue(ctx, lastWord{}, &left), all[0], shop, who, consent.Consent); err == nil {
		t.Fatal("the node has not died: this shows nothing")
	}
	switch n := len(trail(t, all[1].Vault, c.operation)); n {
	case before: // the node had lapsed
		return false
	case before + 1:
	default:
		t.Fatalf("it is in the log %d times more: this shows nothing", n-before)
	}
	if _, err := streamed.Read(make([]byte, 10)); err != nil {
		return false
	}
	patiently(t, all[1].Vault, func() (struct{}, error) { return struct{}{}, c.ask(ctx, all[1], shop, who, consent.Consent) })
	if _, err := streamed.Read(make([]byte, 10)); err == nil {
		t.Error("another node streams on after it was acknowledged")
	}
	return true
}

// afterwards marks the context of a call with what happens once its first Update is carried out, before it hears so.
type afterwards struct{}

// A node that lapses in the middle of a call, and is one of the nodes again before the call ends, does not answer it.
func TestWhoLapsedMeanwhileDoesNotAnswer(t *testing.T) {
	n := nodes(t, 1)[0]
	shop := app(n.Vault)
	try := func(lapses bool) error {
		who := register(t, n.Vault, shop, fields{"given_name": text("Айгүл")})
		var once sync.Once
		call := context.WithValue(ctx, afterwards{}, func() {
			once.Do(func() {
				if lapses {
					n.Clock.Advance(2 * nodeTerm)
				}
				eventually(t, "it is one of the nodes", func() bool {
					_, err := n.Subject(ctx, shop, who.Subject)
					return err == nil
				})
			})
		})
		_, err := n.Block(call, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "asked"})
		return err
	}
	if err := try(true); !errors.Is(err, fault.Unavailable) {
		t.Errorf("it lapsed: %v", err)
	}
	patiently(t, n.Vault, func() (struct{}, error) { return struct{}{}, try(false) })
}

// A node that was stopped between looking at its clock and at the others takes none of them for lapsed that is not.
func TestAStoppedNodeDoesNotTakeOthersForLapsed(t *testing.T) {
	all := nodes(t, 2)
	one, other := all[0], all[1]
	shop := app(one.Vault)
	who := register(t, one.Vault, shop, fields{"given_name": text("Айгүл")})
	streamed := stream(t, other, shop, put(t, one, shop, who.Subject).Token)
	oneGoesOn := one.link.stop(t) // it has looked at its clock, or does before it goes on
	time.Sleep(nodeTerm / 20)
	before := other.link.asked.Load()
	eventually(t, "the other beats", func() bool { return other.link.asked.Load() > before })
	otherGoesOn := other.link.stop(t) // what it is told it does not hear
	one.Clock.Advance(20 * nodeTerm)
	oneGoesOn()
	block(t, one, shop, who.Subject)
	if _, err := streamed.Read(make([]byte, 10)); err == nil {
		t.Error("the other node streams on after the block was acknowledged")
	}
	otherGoesOn()
}

// meanwhile has something happen between the first look at the store's title and that at the keys, or before the keys are told of
// a generation for the first time.
type meanwhile struct {
	kms.Provider
	once         sync.Once
	looks, tells func() // one of them; the other is nil
}

func (m *meanwhile) Sentinel(ctx context.Context) (kms.Sentinel, error) {
	if m.looks != nil {
		m.once.Do(m.looks)
	}
	return m.Provider.Sentinel(ctx)
}

func (m *meanwhile) Advance(ctx context.Context, from, next kms.Generation) error {
	if m.tells != nil {
		m.once.Do(m.tells)
	}
	return m.Provider.Advance(ctx, from, next)
}

// Nodes that start at one moment on a new store, or on one that there was, are all live.
func TestNodesStartTogether(t *testing.T) {
	home := t.TempDir()
	disk, place := vaulttest.Engine(t, home)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { keys.Close() })
	start := func(k kms.Provider) *vaulttest.Vault {
		return vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			o.Store, o.Place, o.Keys, o.Nodes = disk, place, k, &vault.Nodes{Name: "node", Term: 10 * nodeTerm} // nobody lapses
			o.SweepEvery = time.Hour                                                                            // as they start, so they are
		}))
	}
	others := func() {
		start(keys)
		start(keys)
	}
	for range 2 {
		for _, m := range []*meanwhile{{Provider: keys, looks: others}, {Provider: keys, tells: others}} {
			if got := start(m).Ready(ctx); !got.Ready || len(got.Degraded) > 0 {
				t.Errorf("%+v", got)
			}
		}
	}
}
