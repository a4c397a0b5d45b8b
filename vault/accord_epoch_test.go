package vault_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// abandonment is a vault whose index was rotated after one copy of its rows and before another, and who was then erased.
type abandonment struct {
	*vaulttest.Vault
	shop, root   vault.Call
	gone, stays  string
	early, later store.Store // of the epoch before, and of the one that is abandoned
	listed       int         // entries of the ledger
}

func abandoned(t *testing.T) *abandonment {
	t.Helper()
	v := vaulttest.New(t)
	a := &abandonment{Vault: v, shop: app(v), root: administrator(v)}
	a.gone = register(t, v, a.shop, aigul()).Subject
	a.stays = register(t, v, a.shop, fields{"iin": text(iinB)}).Subject
	settled(t, v)
	a.early = copied(t, v.Store)
	rotated(t, v, a.root)
	a.later = copied(t, v.Store)
	erased(t, v, a.shop, erase(t, v, a.shop, a.gone).Erasure)
	settled(t, v)
	if n := matches(t, a.later, v.Keys, v.Home, "iin", iinA); n != 2 {
		t.Fatalf("%d entries match before: the test sees nothing", n)
	}
	a.listed = len(ledgered(t, v))
	return a
}

// settled waits until the keys' mark is at the end of the ledger.
func settled(t *testing.T, v *vaulttest.Vault) {
	t.Helper()
	eventually(t, "the ledger is carried out to its end", func() bool {
		all := ledgered(t, v)
		return len(all) > 0 && must[kms.Mark](t)(v.Keys.Mark(ctx)).Entries == uint64(len(all))
	})
}

// ledgered is what a vault's ledger lists.
func ledgered(t *testing.T, v *vaulttest.Vault) (all []ledger.Entry) {
	t.Helper()
	l := must[ledger.Ledger](t)(v.Ledger(ctx, ledger.Look))
	defer l.Close()
	if err := l.Scan(ctx, 0, func(e ledger.Entry) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// restored starts a vault on the early rows, a copy until it is promoted.
func (a *abandonment) restored(t *testing.T, keys kms.Provider) *vaulttest.Vault {
	t.Helper()
	return vaulttest.At(t, t.TempDir(), a.SameLedger(), vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = a.early, "restored", keys
	}))
}

// TestTheKeyOfAnAbandonedEpochGoes: an older store that goes on names no key of the epochs that came after it. They go, and with
// them what the backups of that time say of whom; the log says so.
func TestTheKeyOfAnAbandonedEpochGoes(t *testing.T) {
	a := abandoned(t)
	var destroys atomic.Bool
	keys := keepsKeys{a.Keys, &destroys, &atomic.Int64{}}
	again := a.restored(t, keys)
	time.Sleep(200 * time.Millisecond)
	if n := matches(t, a.later, a.Keys, a.Home, "iin", iinA); n != 2 || keys.tries.Load() != 0 {
		t.Fatalf("a copy destroys the key of an epoch: %d entries match, %d tries", n, keys.tries.Load())
	}
	if err := again.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tries", func() bool { return keys.tries.Load() > 3 })
	for number, e := range ledgered(t, again) { // no mark goes beyond a key that has yet to go
		if e.Kind == ledger.Epoch && strings.HasPrefix(e.Ref, "index-epoch-2/") {
			if m := must[kms.Mark](t)(a.Keys.Mark(ctx)); m.Entries > uint64(a.listed) && number < a.listed {
				t.Errorf("the mark is at %d, and the key of entry %d is there", m.Entries, number+1)
			}
		}
	}
	destroys.Store(true)
	eventually(t, "the key of the later epoch is gone", func() bool { return matches(t, a.later, a.Keys, a.Home, "iin", iinA) == 0 })
	whole(t, again, a.root)
	settled(t, again)
	for _, of := range []store.Store{a.early, a.later} {
		if n := matches(t, of, a.Keys, a.Home, "iin", iinA); n != 0 {
			t.Errorf("%d entries of who was erased match", n)
		}
	}
	if n := matches(t, a.later, a.Keys, a.Home, "iin", iinB); n != 0 {
		t.Errorf("%d entries of the abandoned epoch match", n)
	}
	finds(t, again, a.shop, "iin", iinA)
	finds(t, again, a.shop, "iin", iinB, a.stays)
	told := trail(t, again, "index.abandoned")
	if len(told) != 1 || len(told[0].Objects) != 1 || !strings.HasPrefix(told[0].Objects[0], "index-epoch-2/") {
		t.Errorf("%+v", told)
	}
	if n := matches(t, again.Store, a.Keys, a.Home, "iin", iinB); n != 2 {
		t.Errorf("%d entries of who was not erased match in the store", n)
	}

	// What went on beside it and is made the live one again names no key that is left; it goes on all the same.
	if err := a.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everybody is found again", func() bool {
		found, err := searched(a.Vault, a.shop, "iin", iinB)
		return err == nil && len(found) == 1 && found[0].Subject == a.stays
	})
	again.Stop()
}

// TestALivingEpochKeepsItsKey: whatever is carried out again, of the epoch that the store names nothing is destroyed, and the index is
// not made anew.
func TestALivingEpochKeepsItsKey(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, a *aged){
		"keys of before":        func(t *testing.T, a *aged) { a.restore(t, "keyring") },
		"a ledger made anew":    func(t *testing.T, a *aged) { removeAll(t, filepath.Join(a.Home, "ledger")) },
		"started once more":     func(*testing.T, *aged) {},
		"the anchor is missing": func(t *testing.T, a *aged) { removeAll(t, filepath.Join(a.Home, "ledger", "test.checkpoint")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := grownOld(t)
			put(t, a)
			a.Restart()
			if name == "a ledger made anew" {
				must[int](t)(a.RebuildLedger(ctx, func() error { return nil }))
			}
			a.ready(t)
			settled(t, a.Vault)
			a.ready(t)
			finds(t, a.Vault, a.shop, "iin", iinB, a.stays.Subject)
			made := 0
			for _, e := range ledgered(t, a.Vault) {
				if e.Kind == ledger.Epoch {
					made++
				}
			}
			if made != 1 {
				t.Errorf("%d keys of epochs are listed", made)
			}
			for _, operation := range []string{"index.abandoned", "index.rebuild"} {
				if n := len(trail(t, a.Vault, operation)); n != 0 {
					t.Errorf("%d times %s", n, operation)
				}
			}
		})
	}
}

// readOnly is a ledger that appends nothing, while it is so.
type readOnly struct {
	ledger.Ledger
	now *atomic.Bool
}

func (r readOnly) Append(ctx context.Context, entries ...ledger.Entry) (ledger.Head, error) {
	if r.now.Load() {
		return ledger.Head{}, errMishap
	}
	return r.Ledger.Append(ctx, entries...)
}

// TestNothingIsEnteredUnderAKeyThatIsNotListed: without the ledger no epoch begins.
func TestNothingIsEnteredUnderAKeyThatIsNotListed(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	right := vaulttest.Ledger(filepath.Join(home, "ledger"), "test", keys)
	var fails atomic.Bool
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
		o.Keys = keys
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			return readOnly{l, &fails}, err
		}
	}))
	shop, root := app(v), administrator(v)
	fails.Store(true)
	if r := tokenize1(t, v, shop, api.TokenizeItem{Fields: aigul()}); r.Error == nil || kinds(t, v)['u'] != 0 {
		t.Fatalf("somebody is entered: %+v", r)
	}
	fails.Store(false)
	who := register(t, v, shop, aigul())
	fails.Store(true)
	if _, err := v.RotateIndex(ctx, root); err == nil {
		t.Error("a rotation begins without the ledger")
	}
	if shown := must[*api.Index](t)(v.Index(ctx, root)); shown.Epoch != 1 || shown.State != api.IndexReady {
		t.Errorf("%+v", shown)
	}
	finds(t, v, shop, "iin", iinA, who.Subject)
	fails.Store(false)
	if shown := rotated(t, v, root); shown.Epoch != 2 {
		t.Errorf("%+v", shown)
	}
	finds(t, v, shop, "iin", iinA, who.Subject)
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, fault.Code(""))
	v.Stop()
}
