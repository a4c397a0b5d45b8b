package vault_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// A withdrawal that was written, and whose node then died before it told the others, is told by the node that is asked again.
func TestWhatIsAskedAgainIsFeltOnEveryNode(t *testing.T) {
	for range 5 {
		if askAgain(t) {
			return
		}
	}
	t.Fatal("each time the node that streams had lapsed before it was asked again: this shows nothing")
}

// askAgain reports whether it could be seen: the node that streams has not lapsed before.
func askAgain(t *testing.T) bool {
	t.Helper()
	all := nodes(t, 3)
	shop := app(all[0].Vault)
	who := register(t, all[0].Vault, shop, fields{"given_name": text("Айгүл")})
	consent := record(t, all[0].Vault, shop, who.Subject, consentTo(all[0].Vault, "registration"))
	put := must[*api.Document](t)(all[0].PutDocument(ctx, shop, upload(who.Subject, jpeg(200_000))))
	asked := &api.WithdrawRequest{Reason: "asked"}
	streamed := stream(t, all[2], shop, put.Token)
	if _, err := all[0].WithdrawConsent(context.WithValue(ctx, lastWord{}, true), shop, who.Subject, consent.Consent, asked); err == nil {
		t.Fatal("the node has not died: this shows nothing")
	}
	if _, err := streamed.Read(make([]byte, 10)); err != nil {
		return false
	}
	must[*api.Consent](t)(all[1].WithdrawConsent(ctx, shop, who.Subject, consent.Consent, asked))
	if _, err := streamed.Read(make([]byte, 10)); err == nil {
		t.Error("another node streams on after the withdrawal was acknowledged")
	}
	return true
}

// A node that was stopped between looking at its clock and at the others takes none of them for lapsed that is not.
func TestAStoppedNodeDoesNotTakeOthersForLapsed(t *testing.T) {
	all := nodes(t, 2)
	one, other := all[0], all[1]
	shop := app(one.Vault)
	who := register(t, one.Vault, shop, fields{"given_name": text("Айгүл")})
	put := must[*api.Document](t)(one.PutDocument(ctx, shop, upload(who.Subject, jpeg(200_000))))
	streamed := stream(t, other, shop, put.Token)
	one.link.stopped.Lock() // it has looked at its clock, or does before it goes on
	time.Sleep(nodeTerm / 20)
	before := other.link.asked.Load()
	eventually(t, "the other beats", func() bool { return other.link.asked.Load() > before })
	other.link.stopped.Lock() // what it is told it does not hear
	one.Clock.Advance(20 * nodeTerm)
	one.link.stopped.Unlock()
	eventually(t, "the block is acknowledged", func() bool {
		_, err := one.Block(ctx, shop, who.Subject, &api.BlockRequest{Kind: "dispute", Reason: "asked"})
		return err == nil
	})
	if _, err := streamed.Read(make([]byte, 10)); err == nil {
		t.Error("the other node streams on after the block was acknowledged")
	}
	other.link.stopped.Unlock()
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
	disk := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: filepath.Join(home, "store")}))
	t.Cleanup(func() { disk.Close() })
	place := must[string](t)(disk.Place())
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { keys.Close() })
	start := func(k kms.Provider) *vaulttest.Vault {
		return vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
			o.Store, o.Place, o.Keys, o.Nodes = disk, place, k, &vault.Nodes{Name: "node", Term: nodeTerm}
			o.SweepEvery = time.Hour // as they start, so they are
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
