package vault_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestSealedAmidADestruction seals the server when it has deleted a key and before it is asked whether the key is gone. The erasure is
// not said to have come any further before the server has told that it is.
func TestSealedAmidADestruction(t *testing.T) {
	t.Parallel()
	server := vaultserver.Start(t)
	target, err := url.Parse(server.Address)
	if err != nil {
		t.Fatal(err)
	}
	var armed atomic.Bool
	sealed := make(chan string, 1) // the path of the key that was deleted
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodDelete && strings.Contains(r.Request.URL.Path, "/keys/") && armed.CompareAndSwap(true, false) {
				server.Seal(t)
				sealed <- strings.TrimPrefix(r.Request.URL.Path, "/v1/")
			}
			return nil
		},
	})
	t.Cleanup(front.Close)
	v := vaulttest.New(t, withKeys(keysInCluster(t, server, front.URL)), vaulttest.With(func(o *vault.Options) { o.Log = slog.New(slog.DiscardHandler) }))
	ready(t, v)
	shop := app(v)
	who := register(t, v, shop, fields{"given_name": text("Айгүл")})
	of := must[[]kms.ID](t)(keysOf(t, v.Store), nil)

	armed.Store(true)
	erasure := erase(t, v, shop, who.Subject).Erasure
	var path string
	select {
	case path = <-sealed:
	case <-time.After(time.Minute):
		t.Fatal("no key was deleted")
	}
	if len(of) != 1 || path != entryOf(of[0]) {
		t.Errorf("%s was deleted, of %v", path, of)
	}
	for range 20 { // sweeps
		if now := must[*api.Erasure](t)(v.Erasure(ctx, shop, erasure)); now.State != api.ErasureErasing {
			t.Fatalf("%s while nobody can tell whether the key is gone", now.State)
		}
		time.Sleep(50 * time.Millisecond)
	}
	server.Unseal(t)
	erased(t, v, shop, erasure)
	if got := status(t, server, path); got != http.StatusNotFound {
		t.Errorf("the key answers %d", got)
	}
}
