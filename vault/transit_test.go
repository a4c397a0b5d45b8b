package vault_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestTransitKeyRotated: keys of before and after open, until somebody forbids the old version. Then whoever has such a key is
// not read, which is alarmed and makes nobody erased, can be erased, and is read again once the version is allowed.
func TestTransitKeyRotated(t *testing.T) {
	t.Parallel()
	server := vaultserver.Start(t)
	var heard kindsHeard
	v := vaulttest.New(t, withKeys(keysIn(t, server)), vaulttest.With(func(o *vault.Options) {
		o.Keyring.CacheSize, o.Observer, o.Log = -1, &heard, slog.New(slog.DiscardHandler)
	}))
	ready(t, v)
	shop := app(v)
	name := func(r api.TokenizeResult) string { return r.Tokens["given_name"].Items[0] }
	before, leaves := register(t, v, shop, fields{"given_name": text("Болат")}), register(t, v, shop, fields{"given_name": text("Ерлан")})
	request(t, server, http.MethodPost, "sandyq-transit/keys/wrap-main/rotate", nil)
	wantText(t, detokenize(t, v, shop, api.Plain, name(before))[0].Value, "Болат")
	v.Restart() // the pool's keys are of before
	ready(t, v)
	shop = app(v)
	after := register(t, v, shop, fields{"given_name": text("Дана")})
	versions := func(least int) {
		t.Helper()
		request(t, server, http.MethodPost, "sandyq-transit/keys/wrap-main/config", map[string]any{"min_decryption_version": least})
	}
	versions(2)
	both := detokenize(t, v, shop, api.Plain, name(before), name(after)) // the provider is asked for both at once
	if wantItem(t, both[0].Error, fault.Unavailable); !strings.Contains(both[0].Error.Detail, "is set not to use") {
		t.Errorf("%+v", both[0].Error)
	}
	wantText(t, both[1].Value, "Дана")
	eventually(t, "it is alarmed", func() bool { return heard.count("withheld_key") > 0 })
	if heard.count("missing_key") > 0 {
		t.Error("a key that is there counts as missing")
	}
	erased(t, v, shop, erase(t, v, shop, leaves.Subject).Erasure)
	versions(1)
	wantText(t, detokenize(t, v, shop, api.Plain, name(before))[0].Value, "Болат")
}

// TestTokensRevokedUnderWay revokes the provider's tokens again and again while people are registered, read and erased. Who
// meets one that is revoked between two logins is told so and tries again; nothing else comes of it.
func TestTokensRevokedUnderWay(t *testing.T) {
	t.Parallel()
	server := vaultserver.Start(t)
	v := vaulttest.New(t, withKeys(keysIn(t, server)), vaulttest.With(func(o *vault.Options) { o.Keyring.CacheSize = -1 }))
	ready(t, v)
	shop := app(v)
	var unavailable atomic.Int64
	insist := func(what string, f func() *api.ItemError) {
		for err := f(); err != nil; err = f() {
			if unavailable.Add(1); err.Code != fault.Unavailable {
				t.Errorf("%s: %v", what, err.Err())
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range scaled(10) {
				item := api.TokenizeItem{Fields: fields{"iin": text(nextIIN()), "given_name": text(nextName())}}
				var who api.TokenizeResult
				insist("register", func() *api.ItemError {
					who = tokenize1(t, v, shop, item)
					return who.Error
				})
				insist("read", func() *api.ItemError {
					return detokenize(t, v, shop, api.Plain, who.Tokens["given_name"].Items[0])[0].Error
				})
				erased(t, v, shop, erase(t, v, shop, who.Subject).Erasure)
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	revoked := 0
	for {
		select {
		case <-done:
			t.Logf("%d tokens revoked, %d answers unavailable", revoked, unavailable.Load())
			if revoked < 3 {
				t.Error("that is hardly a test")
			}
			return
		case <-time.After(50 * time.Millisecond):
			revoked += revokeTokens(t, server)
		}
	}
}

// revokeTokens ends every token but the root's and returns how many there were.
func revokeTokens(t testing.TB, server *vaultserver.Server) (revoked int) {
	t.Helper()
	var list struct{ Data struct{ Keys []string } }
	_, answer := server.Request(t, "LIST", "auth/token/accessors", nil)
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	for _, accessor := range list.Data.Keys {
		body := map[string]any{"accessor": accessor}
		var token struct{ Data struct{ Policies []string } }
		status, answer := server.Request(t, http.MethodPost, "auth/token/lookup-accessor", body)
		if err := json.Unmarshal(answer, &token); err != nil || status != http.StatusOK {
			continue // it ended meanwhile
		}
		if !slices.Contains(token.Data.Policies, "root") {
			server.Request(t, http.MethodPost, "auth/token/revoke-accessor", body)
			revoked++
		}
	}
	return revoked
}
