package vault_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// clients are how many callers the benchmarks have at a time.
var clients = []int{1, 16, 64}

// benchIIN is the n-th of many valid IINs.
func benchIIN(n int) string {
	for ; ; n += 1_000_000 {
		first := fmt.Sprintf("%02d%02d%02d3%04d", 30+n/3_000_000%60, 1+n/250_000%12, 1+n/9999%25, n%9999+1)
		if k, ok := iin.CheckDigit(first); ok {
			return first + string(k)
		}
	}
}

// people registers n people with five values each and returns all their tokens.
func people(b testing.TB, v *vaulttest.Vault, call vault.Call, n int) []string {
	b.Helper()
	var tokens []string
	req := &api.TokenizeRequest{Purpose: "registration"}
	for i := range n {
		req.Items = append(req.Items, api.TokenizeItem{Fields: fields{
			"iin": text(benchIIN(i)), "family_name": text("Сәрсенова"), "given_name": text("Айгүл"),
			"phone": texts(fmt.Sprintf("+7701%07d", i)), "postal_index": text("050000"),
		}})
		if len(req.Items) == 500 || i == n-1 {
			for _, r := range must[*api.TokenizeResponse](b)(v.Tokenize(ctx, call, req)).Results {
				if r.Error != nil {
					b.Fatalf("%+v", r.Error)
				}
				for _, name := range []string{"iin", "family_name", "given_name", "phone", "postal_index"} {
					tokens = append(tokens, r.Tokens[name].Items[0])
				}
			}
			req.Items = nil
		}
	}
	return tokens
}

// inParallel runs f from so many clients until b.N calls are made, and reports values a second.
func inParallel(b *testing.B, clients, values int, f func(n int)) {
	b.Helper()
	b.SetParallelism((clients + 1) / 2) // times GOMAXPROCS, two on the reference machine
	if clients == 1 {
		b.ResetTimer()
		for n := range b.N {
			f(n)
		}
	} else {
		var next atomic.Int64
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f(int(next.Add(1)))
			}
		})
	}
	b.ReportMetric(float64(b.N*values)/b.Elapsed().Seconds(), "values/s")
}

func BenchmarkServiceDetokenize(b *testing.B) {
	v := vaulttest.New(b)
	shop := app(v)
	tokens := people(b, v, shop, 2000)
	for _, batch := range []int{1, 100} {
		for _, c := range clients {
			b.Run(fmt.Sprintf("batch=%d/clients=%d", batch, c), func(b *testing.B) {
				inParallel(b, c, batch, func(n int) {
					at := n * batch % (len(tokens) - batch)
					for _, r := range detokenize(b, v, shop, api.Plain, tokens[at:at+batch]...) {
						if r.Error != nil {
							b.Errorf("%+v", r.Error)
						}
					}
				})
			})
		}
	}
}

func BenchmarkServiceTokenize(b *testing.B) {
	v := vaulttest.New(b, vaulttest.With(func(o *vault.Options) { o.Keyring.PoolSize = 4096 }))
	shop := app(v)
	var serial atomic.Int64
	for _, c := range clients {
		b.Run(fmt.Sprintf("clients=%d", c), func(b *testing.B) {
			inParallel(b, c, 2, func(int) {
				n := int(serial.Add(1))
				register(b, v, shop, fields{"iin": text(benchIIN(n)), "given_name": text("Айгүл")})
			})
		})
	}
}
