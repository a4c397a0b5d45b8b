package vault_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// inPlace is a vault whose store is where it was whatever folder is put there, as on a disk that was put back by its sectors.
func inPlace(o *vault.Options) { o.Place = "here" }

// recorder is a keyring that remembers what it was asked to sign.
type recorder struct {
	kms.Provider
	mu     sync.Mutex
	signed []string
}

func (r *recorder) SignAs(ctx context.Context, version int, msg []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed = append(r.signed, string(msg))
	return r.Provider.SignAs(ctx, version, msg)
}

// trees are the heads that were signed.
func (r *recorder) trees() (all []checkpoint.Tree) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.signed {
		if tree, err := checkpoint.ParseTree(text); err == nil {
			all = append(all, tree)
		}
	}
	return all
}

// headOf is the last checkpoint, and what it says.
func headOf(t *testing.T, v *vaulttest.Vault) ([]byte, checkpoint.Tree) {
	t.Helper()
	auditor := v.As("auditor", access.Auditor)
	note := must[[]byte](t)(v.LogCheckpoint(ctx, auditor))
	text, _, _ := bytes.Cut(note, []byte("\n\n"))
	return note, must[checkpoint.Tree](t)(checkpoint.ParseTree(string(text) + "\n"))
}

// TestAStoreAndItsKeysPutBackForkNothing: the store and the local keyring, in their places, as they were before entries that were
// signed, and nobody was erased in between: neither of them can tell. The log goes on under another origin, what was signed of the
// old one stays the only thing that was, and people can be read once the ledger was gone through.
func TestAStoreAndItsKeysPutBackForkNothing(t *testing.T) {
	for name, lose := range map[string]bool{"anchored": false, "the anchor is gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, earlier := t.TempDir(), t.TempDir()
			first := vaulttest.At(t, home, vaulttest.With(inPlace))
			shop := app(first)
			stays := register(t, first, shop, aigul())
			eventually(t, "it is signed", func() bool {
				_, err := first.LogCheckpoint(ctx, first.As("auditor", access.Auditor))
				return err == nil
			})
			first.Stop()
			parts := []string{"store", "documents", "keyring"}
			for _, part := range parts {
				copyTree(t, filepath.Join(home, part), filepath.Join(earlier, part))
			}

			first.Restart()
			register(t, first, shop, fields{"iin": text(iinB)})
			_, at := headOf(t, first)
			eventually(t, "more is signed", func() bool { _, now := headOf(t, first); return now.Size > at.Size+3 })
			keys := must[*api.LogKeys](t)(first.LogKeys(ctx, first.As("auditor", access.Auditor)))
			note, before := headOf(t, first)
			first.Stop()

			for _, part := range parts {
				removeAll(t, filepath.Join(home, part))
				copyTree(t, filepath.Join(earlier, part), filepath.Join(home, part))
				chmodAll(t, filepath.Join(home, part))
			}
			if lose {
				removeAll(t, filepath.Join(home, "ledger", "test.checkpoint"))
			}
			opened := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
			t.Cleanup(func() { _ = opened.Close() })
			heard := &recorder{Provider: opened}
			again := vaulttest.At(t, home, vaulttest.With(inPlace), vaulttest.With(func(o *vault.Options) { o.Keys = heard }))
			shop = app(again)
			eventually(t, "the log goes on", func() bool {
				register(t, again, shop, fields{"iin": text(iinB)})
				_, now := headOf(t, again)
				return now.Origin != before.Origin && now.Size > before.Size
			})
			wantText(t, detokenize(t, again, shop, api.Plain, stays.Tokens["iin"].Items[0])[0].Value, iinA)
			for _, tree := range heard.trees() {
				if tree.Origin == before.Origin {
					t.Errorf("%d entries of the old origin were signed again", tree.Size)
				}
			}
			if _, err := checkpoint.OpenTree(note, must[checkpoint.Key](t)(checkpoint.ParseKey(keys.Keys[0]))); err != nil {
				t.Errorf("what was signed before: %v", err)
			}
			now := must[*api.LogKeys](t)(again.LogKeys(ctx, again.As("auditor", access.Auditor)))
			if len(now.Successions) != 1 {
				t.Errorf("%q", now.Successions)
			}
			again.Stop()
		})
	}
}

// TestAllButTheLedgerPutBackTakesOneOrigin: store, keys and anchor are of one earlier day. What the ledger lists tells that they are
// older; it is carried out again, over several tries, and the log goes on under another origin, once.
func TestAllButTheLedgerPutBackTakesOneOrigin(t *testing.T) {
	home, earlier := t.TempDir(), t.TempDir()
	first := vaulttest.At(t, home, vaulttest.With(inPlace))
	shop := app(first)
	var items []api.TokenizeItem
	for n := range 70 { // more than one call of the provider destroys, so that the first tries do not come to the end
		items = append(items, api.TokenizeItem{Fields: fields{"iin": text(benchIIN(n))}})
	}
	people := must[*api.TokenizeResponse](t)(first.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "registration", Items: items})).Results
	_, was := headOf(t, first)
	first.Stop()
	for _, part := range []string{"store", "documents", "keyring", "ledger"} {
		copyTree(t, filepath.Join(home, part), filepath.Join(earlier, part))
	}
	first.Restart()
	var erasures []string
	for _, p := range people {
		erasures = append(erasures, erase(t, first, shop, p.Subject).Erasure)
	}
	for _, e := range erasures {
		erased(t, first, shop, e)
	}
	_, before := headOf(t, first)
	if before.Size <= was.Size || before.Origin != was.Origin {
		t.Fatalf("%v, then %v", was, before)
	}
	first.Stop()
	for _, part := range []string{"store", "documents", "keyring"} {
		removeAll(t, filepath.Join(home, part))
		copyTree(t, filepath.Join(earlier, part), filepath.Join(home, part))
		chmodAll(t, filepath.Join(home, part))
	}
	anchored := must[[]byte](t)(os.ReadFile(filepath.Join(earlier, "ledger", "test.checkpoint")))
	if err := os.WriteFile(filepath.Join(home, "ledger", "test.checkpoint"), anchored, 0o600); err != nil {
		t.Fatal(err)
	}

	opened := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	t.Cleanup(func() { _ = opened.Close() })
	heard := &recorder{Provider: opened}
	var destroys atomic.Bool
	keys := keepsKeys{heard, &destroys, &atomic.Int64{}}
	again := vaulttest.At(t, home, vaulttest.With(inPlace), vaulttest.With(func(o *vault.Options) { o.Keys = keys }))
	eventually(t, "several tries", func() bool { return keys.tries.Load() > 3 })
	destroys.Store(true)
	eventually(t, "things are given out", func() bool { return len(again.Ready(ctx).Degraded) == 0 })
	eventually(t, "the log goes on", func() bool { _, now := headOf(t, again); return now.Origin != before.Origin })
	if n := len(trail(t, again, "log.renew")); n != 1 {
		t.Errorf("%d times another origin", n)
	}
	if now := must[*api.LogKeys](t)(again.LogKeys(ctx, again.As("auditor", access.Auditor))); len(now.Successions) != 1 {
		t.Errorf("%q", now.Successions)
	}
	for _, tree := range heard.trees() {
		if tree.Origin == before.Origin {
			t.Errorf("%d entries of the old origin were signed again", tree.Size)
		}
	}
	again.Stop()
}

// untouched is an anchor that counts who comes.
type untouched struct{ asked atomic.Int64 }

func (u *untouched) Last(context.Context) ([]byte, error) { u.asked.Add(1); return nil, nil }
func (u *untouched) Keep(context.Context, []byte, []byte) (bool, error) {
	u.asked.Add(1)
	return true, nil
}

// TestACopyLeavesTheAnchorAlone: it neither signs, nor says what was signed, until it is promoted.
func TestACopyLeavesTheAnchorAlone(t *testing.T) {
	a := grownOld(t)
	keys := must[kms.Provider](t)(vaulttest.Keyring(filepath.Join(a.Home, "keyring")))
	t.Cleanup(func() { _ = keys.Close() })
	var kept untouched
	copied := vaulttest.At(t, a.earlier, vaulttest.With(func(o *vault.Options) {
		o.Keys, o.Ledger, o.Anchor = keys, vaulttest.Ledger(filepath.Join(a.Home, "ledger"), "test", keys), &kept
	}))
	wantText(t, detokenize(t, copied, a.shop, api.Plain, a.stays.Tokens["iin"].Items[0])[0].Value, iinB) // an entry of its log
	time.Sleep(500 * time.Millisecond)
	if n := kept.asked.Load(); n != 0 {
		t.Errorf("a copy asked the anchor %d times", n)
	}
	if err := copied.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the live one asks it", func() bool { return kept.asked.Load() > 0 })
}

// TestAnAnchorThatCannotBeWritten: nothing is signed, and the vault goes on. It shows, and passes.
func TestAnAnchorThatCannotBeWritten(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	made := register(t, v, shop, aigul())
	headOf(t, v)
	path := filepath.Join(v.Home, "ledger", "test.checkpoint")
	note := must[[]byte](t)(os.ReadFile(path))
	removeAll(t, path)
	if err := os.Mkdir(path, 0o700); err != nil { // no file can take its place, nor be read
		t.Fatal(err)
	}
	eventually(t, "it shows", func() bool { return slices.Contains(v.Ready(ctx).Degraded, "log") })
	_, before := headOf(t, v)
	wantItem(t, detokenize(t, v, shop, api.Plain, made.Tokens["iin"].Items[0])[0].Error, "")
	register(t, v, shop, fields{"iin": text(iinB)})
	if _, now := headOf(t, v); now != before {
		t.Errorf("%v was signed after %v", now, before)
	}
	removeAll(t, path)
	if err := os.WriteFile(path, note, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is signed again", func() bool { _, now := headOf(t, v); return now.Size > before.Size && now.Origin == before.Origin })
	if r := v.Ready(ctx); len(r.Degraded) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestALiveVaultWhoseAnchorIsLostHoldsBack: it may have been put back with everything else; the ledger is gone through, and it goes
// on under another origin.
func TestALiveVaultWhoseAnchorIsLostHoldsBack(t *testing.T) {
	v := vaulttest.New(t)
	shop := app(v)
	made := register(t, v, shop, aigul())
	eventually(t, "it is signed", func() bool {
		_, err := v.LogCheckpoint(ctx, v.As("auditor", access.Auditor))
		return err == nil
	})
	_, before := headOf(t, v)
	removeAll(t, filepath.Join(v.Home, "ledger", "test.checkpoint"))
	eventually(t, "another origin is taken", func() bool { _, now := headOf(t, v); return now.Origin != before.Origin })
	eventually(t, "people are read again", func() bool {
		out, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: []string{made.Tokens["iin"].Items[0]}})
		if err != nil {
			wantCode(t, err, fault.Unavailable)
		}
		return err == nil && out.Results[0].Value != nil
	})
}
