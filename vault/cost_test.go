package vault_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// permitsAll decides without policies. It is in no binary but the benchmark's.
type permitsAll struct{}

func (permitsAll) Decide(context.Context, access.Request) (access.Decision, error) {
	return access.Allow("all"), nil
}

// BenchmarkPolicies measures what deciding costs: the same store's values are read over HTTP with the built-in policies and without
// any, by turns in one run. ratio is with over without; the goal is 0.85.
func BenchmarkPolicies(b *testing.B) {
	ratio(b, vaulttest.With(func(o *vault.Options) { o.Decider = permitsAll{} }), builtIn())
}

// BenchmarkLog measures what the transparency log costs: the same, with the log taken up and signed each second and with that
// not done at all (the leaves are written all the same). Some of it is done in the other's turn. The goal is 0.9.
func BenchmarkLog(b *testing.B) {
	every := func(d time.Duration) vaulttest.Option {
		return vaulttest.With(func(o *vault.Options) { o.LogEvery = d })
	}
	ratio(b, every(24*time.Hour), every(time.Second))
}

// ratio reads over HTTP without something and with it, by turns, single values and batches.
func ratio(b *testing.B, without, with vaulttest.Option) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			type side struct {
				v      *vaulttest.Vault
				call   vault.Call
				tokens []string
				http   *client.Client
				took   time.Duration
			}
			sides := []*side{{v: vaulttest.New(b, without)}, {v: vaulttest.New(b, with)}}
			for _, s := range sides {
				s.call = app(s.v)
				s.tokens = people(b, s.v, s.call, 1000)
				s.http = overHTTP(b, s.v)
			}
			const clients, calls = 64, 32 // of each client, in each turn
			b.ResetTimer()
			for range b.N {
				for _, s := range sides {
					began := time.Now()
					inTurns(clients, calls, func(n int) {
						at := n * batch % (len(s.tokens) - batch)
						resp, err := s.http.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "bench", Tokens: s.tokens[at : at+batch]})
						if err != nil || resp.Results[batch-1].Value == nil {
							b.Errorf("%v", err)
						}
					})
					s.took += time.Since(began)
				}
			}
			b.ReportMetric(sides[0].took.Seconds()/sides[1].took.Seconds(), "ratio")
			b.ReportMetric(float64(b.N*clients*calls*batch)/sides[1].took.Seconds(), "values/s")
		})
	}
}

// overHTTP serves a vault and returns a client of the application that holds its people.
func overHTTP(b *testing.B, v *vaulttest.Vault) *client.Client {
	b.Helper()
	front := httptest.NewServer(httpapi.Handler(httpapi.Config{Services: []httpapi.Service{v.Service}, Log: slog.New(slog.DiscardHandler)}))
	b.Cleanup(front.Close)
	root := v.As("root", access.Administrator)
	made := must[*api.ServiceToken](b)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "shop", Role: string(access.Application)}))
	return must[*client.Client](b)(client.New(front.URL, made.Secret))
}

// inTurns has so many clients make so many calls each, all at a time.
func inTurns(clients, calls int, f func(n int)) {
	done := make(chan struct{})
	for c := range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := range calls {
				f(c*calls + n)
			}
		}()
	}
	for range clients {
		<-done
	}
}
