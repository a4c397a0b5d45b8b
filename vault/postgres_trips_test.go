package vault_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestABatchTakesFewRoundTrips counts what a call sends to PostgreSQL: a thousand tokens of a thousand people do not ask a thousand times.
func TestABatchTakesFewRoundTrips(t *testing.T) {
	server := pgserver.Shared(t)
	wire := server.Wire(t)
	rows := must[*postgres.Store](t)(postgres.Open(ctx, postgres.Options{DSN: server.Over(wire, server.Database(t))}))
	t.Cleanup(func() { rows.Close() })
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.SweepEvery, o.LogEvery = rows, "here", time.Hour, time.Hour
	}))
	shop := app(v)
	const perPerson = 5
	var tokens []string
	for i, token := range people(t, v, shop, 1000) {
		if i%perPerson == 0 {
			tokens = append(tokens, token)
		}
	}
	read := func(tokens []string) int64 {
		var sent atomic.Int64
		wire.CutAt(func(_ []byte, byServer bool) bool {
			if !byServer {
				sent.Add(1)
			}
			return false
		})
		defer wire.CutAt(nil)
		for _, r := range detokenize(t, v, shop, api.Plain, tokens...) {
			wantItem(t, r.Error, "")
		}
		return sent.Load()
	}
	read(tokens) // keys and connections are open from here on
	for _, of := range []struct {
		tokens int
		most   int64
	}{{1, 20}, {100, 30}, {1000, 150}} {
		if sent := read(tokens[:of.tokens]); sent > of.most || sent < 2 {
			t.Errorf("%d tokens took %d messages, more than %d", of.tokens, sent, of.most)
		} else {
			t.Logf("%d tokens took %d messages", of.tokens, sent)
		}
	}
}
