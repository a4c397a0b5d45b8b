package vault_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// rollBack lays the files of a folder as it was over what it is now, under whoever has it open.
func rollBack(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		aside := filepath.Join(to, rel) + ".new"
		if err := os.WriteFile(aside, b, 0o600); err != nil {
			return err
		}
		return os.Rename(aside, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMarkOfKeysRolledBackIsNotWrittenOver: the mark that the keys bring back is not written over before what they bring back is
// destroyed again.
func TestMarkOfKeysRolledBackIsNotWrittenOver(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	gone := register(t, v, shop, aigul())
	eventually(t, "the keys know the ledger", func() bool { return must[kms.Mark](t)(v.Keys.Mark(ctx)) != kms.Mark{} })
	before := keyFiles(t, v)
	earlier := t.TempDir()
	copyTree(t, filepath.Join(v.Home, "keyring"), filepath.Join(earlier, "keyring"))
	erased(t, v, shop, erase(t, v, shop, gone.Subject).Erasure)
	eventually(t, "the keys know that it was carried out", func() bool { return must[kms.Mark](t)(v.Keys.Mark(ctx)).Entries == 2 })
	after := keyFiles(t, v)
	theirs := slices.DeleteFunc(before, func(path string) bool { return slices.Contains(after, path) })
	if len(theirs) == 0 {
		t.Fatal("nothing was destroyed")
	}
	rollBack(t, filepath.Join(earlier, "keyring"), filepath.Join(v.Home, "keyring"))
	eventually(t, "what came back is destroyed again", func() bool {
		return !slices.ContainsFunc(theirs, func(path string) bool { _, err := os.Stat(path); return err == nil })
	})
	eventually(t, "the keys know it again, and things are given out", func() bool {
		return must[kms.Mark](t)(v.Keys.Mark(ctx)).Entries == 2 && len(v.Ready(ctx).Degraded) == 0
	})
}

// TestKeysRolledBackUnderACopy: a copy that has seen once that the keys are gone looks again when they say something else.
func TestKeysRolledBackUnderACopy(t *testing.T) {
	a := grownOld(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(a.Home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	// Not SameLedger: it belongs to keys that are closed.
	copied := vaulttest.At(t, a.earlier, vaulttest.With(func(o *vault.Options) {
		o.Keys, o.Ledger = keys, vaulttest.Ledger(filepath.Join(a.Home, "ledger"), "test", keys)
	}))
	if r := copied.Ready(ctx); slices.Contains(r.Degraded, "ledger") {
		t.Fatalf("%+v", r)
	}
	rollBack(t, filepath.Join(a.earlier, "keyring"), filepath.Join(a.Home, "keyring"))
	copied.Clock.Advance(2 * time.Minute)
	eventually(t, "the copy sees that a destroyed key is back", func() bool {
		return slices.Contains(copied.Ready(ctx).Degraded, "ledger")
	})
	out := must[*api.DetokenizeResponse](t)(copied.Detokenize(ctx, a.shop, &api.DetokenizeRequest{
		Purpose: "service", Reason: "check", Tokens: []string{a.gone.Tokens["iin"].Items[0]},
	}))
	wantItem(t, out.Results[0].Error, fault.Unavailable)
}

// gated is a ledger whose Head waits, once armed.
type gated struct {
	ledger.Ledger
	armed         *atomic.Bool
	entered, open chan struct{}
}

func (g gated) Head(ctx context.Context) (ledger.Head, error) {
	if g.armed.CompareAndSwap(true, false) {
		close(g.entered)
		<-g.open
	}
	return g.Ledger.Head(ctx)
}

// TestPromotedDuringAComparison: what was found to be enough for a copy is not taken for enough once it is the live store.
func TestPromotedDuringAComparison(t *testing.T) {
	a := grownOld(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(a.Home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	right := vaulttest.Ledger(filepath.Join(a.Home, "ledger"), "test", keys)
	var armed atomic.Bool
	entered, open := make(chan struct{}), make(chan struct{})
	copied := vaulttest.At(t, a.earlier, vaulttest.With(func(o *vault.Options) {
		o.Keys = keys
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			if err != nil {
				return nil, err
			}
			return gated{l, &armed, entered, open}, nil
		}
	}))
	armed.Store(true)
	copied.Clock.Advance(2 * time.Minute)
	<-entered
	err := copied.Promote(ctx)
	close(open)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "who was erased is erased in the promoted store", func() bool {
		out := must[*api.DetokenizeResponse](t)(copied.Detokenize(ctx, a.shop, &api.DetokenizeRequest{
			Purpose: "service", Reason: "check", Tokens: []string{a.gone.Tokens["iin"].Items[0]},
		}))
		return out.Results[0].Error != nil && out.Results[0].Error.Code == fault.Erased
	})
}

// unsure is a ledger that appends and fails to say so, while it is so.
type unsure struct {
	ledger.Ledger
	now *atomic.Bool
}

func (u unsure) Append(ctx context.Context, entries ...ledger.Entry) (ledger.Head, error) {
	head, err := u.Ledger.Append(ctx, entries...)
	if u.now.Load() {
		return ledger.Head{}, errors.Join(errMishap, err)
	}
	return head, err
}

// keepsKeys is a provider that destroys nothing for now.
type keepsKeys struct {
	kms.Provider
	off   *atomic.Bool
	tries *atomic.Int64
}

func (k keepsKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	k.tries.Add(1)
	if !k.off.Load() {
		return kms.ErrUnavailable
	}
	return k.Provider.Destroy(ctx, claim, ids...)
}

// TestMarkWaitsForWhatNobodyAcknowledged: no mark goes beyond an entry that is listed, though the append failed, and not
// carried out.
func TestMarkWaitsForWhatNobodyAcknowledged(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	right := vaulttest.Ledger(filepath.Join(home, "ledger"), "test", keys)
	var destroys, doubtful atomic.Bool
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
		o.Keys = keepsKeys{keys, &destroys, &atomic.Int64{}}
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			if err != nil {
				return nil, err
			}
			return unsure{l, &doubtful}, nil
		}
	}))
	shop := app(v)
	who := register(t, v, shop, aigul())
	doubtful.Store(true)
	e := erase(t, v, shop, who.Subject)
	for range 50 {
		if m := must[kms.Mark](t)(keys.Mark(ctx)); m.Entries > 1 { // beyond the key of the index
			t.Fatal("the mark says that a key is gone that is not")
		}
		time.Sleep(10 * time.Millisecond)
	}
	destroys.Store(true)
	erased(t, v, shop, e.Erasure)
	eventually(t, "the mark follows", func() bool { return must[kms.Mark](t)(keys.Mark(ctx)).Entries == 2 })
}

// faraway is a ledger that cannot be reached, while it is so.
type faraway struct {
	ledger.Ledger
	now *atomic.Bool
}

func (f faraway) Head(ctx context.Context) (ledger.Head, error) {
	if f.now.Load() {
		return ledger.Head{}, ledger.ErrUnavailable
	}
	return f.Ledger.Head(ctx)
}

// TestLedgerOutOfReach: for a while nothing changes, then nothing is given out, and all is well when it is back.
func TestLedgerOutOfReach(t *testing.T) {
	home := t.TempDir()
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	right := vaulttest.Ledger(filepath.Join(home, "ledger"), "test", keys)
	var away atomic.Bool
	v := vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) {
		o.Keys, o.Log = keys, slog.New(slog.DiscardHandler)
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			if err != nil {
				return nil, err
			}
			return faraway{l, &away}, nil
		}
	}))
	shop := app(v)
	who := register(t, v, shop, aigul())
	token := who.Tokens["iin"].Items[0]
	gives := func() bool {
		resp, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "support_call", Tokens: []string{token}})
		return err == nil && resp.Results[0].Error == nil
	}
	eventually(t, "the three agree", gives)
	away.Store(true)
	v.Clock.Advance(2 * time.Minute) // a comparison is due
	for range 20 {
		time.Sleep(20 * time.Millisecond) // sweeps
		if !gives() {
			t.Fatal("nothing is given out as soon as the ledger is out of reach")
		}
	}
	v.Clock.Advance(4 * time.Minute)
	eventually(t, "nothing is given out", func() bool { return !gives() })
	if degraded := v.Ready(ctx).Degraded; !slices.Contains(degraded, "ledger") {
		t.Errorf("readiness says %v", degraded)
	}
	away.Store(false)
	eventually(t, "it is given out again", gives)
}
