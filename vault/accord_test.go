package vault_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// aged is a vault with somebody erased and somebody who was not, and the folders of its parts as they were before the erasure.
type aged struct {
	*vaulttest.Vault
	shop         vault.Call
	gone, stays  api.TokenizeResult
	earlier      string // holds store/, documents/, keyring/ and ledger/ as they were
	documentGone string // the token of a document of gone
}

func grownOld(t *testing.T) *aged {
	t.Helper()
	v := vaulttest.New(t)
	a := &aged{Vault: v, shop: app(v), earlier: t.TempDir()}
	a.gone = register(t, v, a.shop, aigul())
	a.stays = register(t, v, a.shop, fields{"iin": text(iinB)})
	a.documentGone = must[*api.Document](t)(v.PutDocument(ctx, a.shop, upload(a.gone.Subject, jpeg(5000)))).Token
	v.Stop()
	for _, part := range []string{"store", "documents", "keyring", "ledger"} {
		copyTree(t, filepath.Join(v.Home, part), filepath.Join(a.earlier, part))
	}
	v.Restart()
	erased(t, v, a.shop, erase(t, v, a.shop, a.gone.Subject).Erasure)
	eventually(t, "the keys know how far the ledger was carried out", func() bool {
		return must[kms.Mark](t)(v.Keys.Mark(ctx)).Entries == 2
	})
	v.Stop()
	return a
}

// restore puts parts back as they were before the erasure.
func (a *aged) restore(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err := os.RemoveAll(filepath.Join(a.Home, part)); err != nil {
			t.Fatal(err)
		}
		copyTree(t, filepath.Join(a.earlier, part), filepath.Join(a.Home, part))
		chmodAll(t, filepath.Join(a.Home, part))
	}
}

// chmodAll gives a folder's files back their modes, which a copy does not keep.
func chmodAll(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// nobodyIsBack starts the vault and sees that who was erased is not to be had by any way, at any moment, and that the others
// are.
func (a *aged) nobodyIsBack(t *testing.T) {
	t.Helper()
	a.Restart()
	if len(a.Ready(ctx).Degraded) > 0 { // what was put back is a copy of the store
		if err := a.Promote(ctx); err != nil {
			t.Fatal(err)
		}
	}
	iin := a.gone.Tokens["iin"].Items[0]
	eventually(t, "the others are given out again", func() bool {
		a.neverReadable(t, iin)
		out, err := a.Detokenize(ctx, a.shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{a.stays.Tokens["iin"].Items[0]}})
		return err == nil && out.Results[0].Error == nil
	})
	eventually(t, "who was erased is erased again", func() bool {
		a.neverReadable(t, iin)
		out := must[*api.DetokenizeResponse](t)(a.Detokenize(ctx, a.shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{iin}}))
		return out.Results[0].Error != nil && out.Results[0].Error.Code == fault.Erased
	})
	_, err := a.OpenDocument(ctx, a.shop, &api.OpenDocumentRequest{Token: a.documentGone, Purpose: "service", Reason: "check"})
	wantCode(t, err, fault.Erased)
	found := must[*api.SearchResponse](t)(a.Search(ctx, a.shop, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)}))
	if len(found.Results) != 0 {
		t.Error("who was erased is found by their IIN")
	}
	next := register(t, a.Vault, a.shop, aigul())
	if next.Subject == a.gone.Subject || !next.Created {
		t.Error("the same IIN leads to who was erased")
	}
	if r := a.Ready(ctx); len(r.Degraded) != 0 {
		t.Errorf("%+v", r)
	}
}

func (a *aged) neverReadable(t *testing.T, token string) {
	t.Helper()
	out, err := a.Detokenize(ctx, a.shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{token}})
	if err == nil && out.Results[0].Value != nil {
		t.Fatal("who was erased is read")
	}
}

// TestRestoresBringNobodyBack: an old store, old keys and both, in the place of the new ones.
func TestRestoresBringNobodyBack(t *testing.T) {
	for _, parts := range [][]string{nil, {"store", "documents"}, {"keyring"}, {"store", "documents", "keyring"}} {
		t.Run(strings.Join(parts, "+"), func(t *testing.T) {
			t.Parallel()
			a := grownOld(t)
			a.restore(t, parts...)
			a.nobodyIsBack(t)
		})
	}
}

// TestWithoutTheLedger: nothing is given out and nothing destroyed while the ledger is missing, older than what was carried
// out, or another's; people are blocked all the same. With the ledger back in its place the vault goes on.
func TestWithoutTheLedger(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, a *aged){
		"missing": func(t *testing.T, a *aged) { removeAll(t, filepath.Join(a.Home, "ledger")) },
		"older":   func(t *testing.T, a *aged) { a.restore(t, "ledger") },
		"another's": func(t *testing.T, a *aged) {
			other := grownOld(t)
			removeAll(t, filepath.Join(a.Home, "ledger"))
			copyTree(t, filepath.Join(other.Home, "ledger"), filepath.Join(a.Home, "ledger"))
		},
		"missing, and store and keys are old": func(t *testing.T, a *aged) {
			removeAll(t, filepath.Join(a.Home, "ledger"))
			a.restore(t, "store", "documents", "keyring")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := grownOld(t)
			right := t.TempDir()
			copyTree(t, filepath.Join(a.Home, "ledger"), filepath.Join(right, "ledger"))
			lose(t, a)
			a.Restart()
			if r := a.Ready(ctx); !r.Ready || !slices.Contains(r.Degraded, "ledger") {
				t.Fatalf("%+v", r)
			}
			if slices.Contains(a.Ready(ctx).Degraded, "copy") {
				if err := a.Promote(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 {
				wantItem(t, detokenize(t, a.Vault, a.shop, api.Plain, a.stays.Tokens["iin"].Items[0])[0].Error, fault.Unavailable)
				a.neverReadable(t, a.gone.Tokens["iin"].Items[0])
				time.Sleep(10 * time.Millisecond)
			}
			wantItem(t, tokenize1(t, a.Vault, a.shop, api.TokenizeItem{Fields: aigul()}).Error, fault.Unavailable)
			must[*api.Subject](t)(a.Block(ctx, a.shop, a.stays.Subject, &api.BlockRequest{Kind: "dispute", Reason: "claim"}))
			must[*api.Subject](t)(a.Unblock(ctx, a.shop, a.stays.Subject, &api.BlockRequest{Kind: "dispute", Reason: "settled"}))
			e := erase(t, a.Vault, a.shop, a.stays.Subject)
			time.Sleep(200 * time.Millisecond)
			if got := must[*api.Erasure](t)(a.Erasure(ctx, a.shop, e.Erasure)); got.State != api.ErasureErasing {
				t.Errorf("a key was destroyed without the ledger: %s", got.State)
			}
			a.Stop()
			removeAll(t, filepath.Join(a.Home, "ledger"))
			copyTree(t, filepath.Join(right, "ledger"), filepath.Join(a.Home, "ledger"))
			a.Restart()
			eventually(t, "the erasure goes on", func() bool {
				a.neverReadable(t, a.gone.Tokens["iin"].Items[0])
				return must[*api.Erasure](t)(a.Erasure(ctx, a.shop, e.Erasure)).State == api.ErasureErased
			})
		})
	}
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// TestReplayingCopy: a copy that is told to brings its own rows up to the ledger, and changes no key.
func TestReplayingCopy(t *testing.T) {
	a := grownOld(t)
	a.Restart()
	before := keyFiles(t, a.Vault)
	copied := vaulttest.At(t, a.earlier, a.SameLedger(), vaulttest.With(func(o *vault.Options) { o.Keys, o.Replay = a.Keys, true }))
	wantItem(t, detokenize(t, copied, a.shop, api.Plain, a.gone.Tokens["iin"].Items[0])[0].Error, fault.Erased)
	wantText(t, detokenize(t, copied, a.shop, api.Plain, a.stays.Tokens["iin"].Items[0])[0].Value, iinB)
	found := must[*api.SearchResponse](t)(copied.Search(ctx, a.shop, &api.SearchRequest{Purpose: "service", Reason: "check", Field: "iin", Value: api.Text(iinA)}))
	if len(found.Results) != 0 {
		t.Error("who was erased is found by their IIN")
	}
	if after := keyFiles(t, a.Vault); len(after) != len(before) {
		t.Errorf("%d keys before, %d after", len(before), len(after))
	}
}

// TestARebuiltLedger lists whom the store knows to be erased, and the vault goes on with it, also after the keys come back.
func TestARebuiltLedger(t *testing.T) {
	a := grownOld(t)
	removeAll(t, filepath.Join(a.Home, "ledger"))
	a.Restart()
	aside := func() error { t.Error("there is nothing to put aside, or nothing to be put aside"); return nil }
	if entries, err := a.RebuildLedger(ctx, aside); err != nil || entries != 1 {
		t.Fatalf("%d entries: %v", entries, err)
	}
	if _, err := a.RebuildLedger(ctx, aside); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("one is made over another: %v", err)
	}
	a.Stop()
	a.restore(t, "keyring")
	a.nobodyIsBack(t)
}

// unreadable is a ledger that cannot be read at a line, while it is so.
type unreadable struct {
	ledger.Ledger
	line *atomic.Uint64 // 0: all can be read
}

func (u unreadable) At(ctx context.Context, number uint64) ([32]byte, error) {
	if n := u.line.Load(); n != 0 && n == number {
		return [32]byte{}, errMishap
	}
	return u.Ledger.At(ctx, number)
}

// TestAfterARebuildingNobodyGuesses: that a mark of the keys cannot be looked up is not taken for a mark in the ledger that was lost:
// nothing is given out until it can be.
func TestAfterARebuildingNobodyGuesses(t *testing.T) {
	a := grownOld(t)
	removeAll(t, filepath.Join(a.Home, "ledger"))
	a.Restart()
	if _, err := a.RebuildLedger(ctx, func() error { return errMishap }); err != nil {
		t.Fatal(err)
	}
	a.ready(t)
	a.Stop()
	early := t.TempDir()
	copyTree(t, filepath.Join(a.Home, "keyring"), filepath.Join(early, "keyring"))
	a.Restart()
	was := must[kms.Mark](t)(a.Keys.Mark(ctx))
	erased(t, a.Vault, a.shop, erase(t, a.Vault, a.shop, register(t, a.Vault, a.shop, aigul()).Subject).Erasure)
	eventually(t, "the keys know that it was carried out", func() bool { return must[kms.Mark](t)(a.Keys.Mark(ctx)).Entries > was.Entries })
	a.Stop()

	removeAll(t, filepath.Join(a.Home, "keyring"))
	copyTree(t, filepath.Join(early, "keyring"), filepath.Join(a.Home, "keyring"))
	chmodAll(t, filepath.Join(a.Home, "keyring"))
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(a.Home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	right := vaulttest.Ledger(filepath.Join(a.Home, "ledger"), "test", keys)
	var line atomic.Uint64
	line.Store(must[kms.Mark](t)(keys.Mark(ctx)).Entries) // of the copy: a start may have moved it on
	again := a.Again(vaulttest.With(func(o *vault.Options) {
		o.Keys = keys
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			l, err := right(ctx, use)
			return unreadable{l, &line}, err
		}
	}))
	defer again.Stop()
	for range 20 {
		if r := again.Ready(ctx); !slices.Contains(r.Degraded, "ledger") {
			t.Fatalf("%+v", r)
		}
		wantItem(t, detokenize(t, again, a.shop, api.Plain, a.stays.Tokens["iin"].Items[0])[0].Error, fault.Unavailable)
		time.Sleep(10 * time.Millisecond)
	}
	line.Store(0)
	eventually(t, "it can be read, and all agree", func() bool { return len(again.Ready(ctx).Degraded) == 0 })
	wantText(t, detokenize(t, again, a.shop, api.Plain, a.stays.Tokens["iin"].Items[0])[0].Value, iinB)
}

func (a *aged) ready(t *testing.T) {
	t.Helper()
	eventually(t, "all agree", func() bool { return len(a.Ready(ctx).Degraded) == 0 })
}
