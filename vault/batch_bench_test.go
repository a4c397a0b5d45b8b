package vault_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// BenchmarkBatchBesideSingles measures batches of 1,000 tokens, of 200 people and of 1,000, whose keys are all open. By turns: one client
// alone with single tokens and with batches; 63 clients with single tokens; these beside one that sends batches. It reports medians in
// ms, those of a batch as multiples of those of a single token (the goal is 40 at most), and the rate of single tokens beside batches
// as a part of that without (the goal is 0.5). With SANDYQ_TEST_STORE=postgres on PostgreSQL:
// go test -run '^$' -bench BatchBesideSingles -benchtime 10x ./vault
func BenchmarkBatchBesideSingles(b *testing.B) {
	const batch, values = 1000, 5
	v := vaulttest.New(b, asServed(), vaulttest.With(func(o *vault.Options) {
		o.Keyring.Lease, o.Keyring.PermitLife = time.Hour, time.Hour
	}))
	shop := app(v)
	tokens := people(b, v, shop, batch)
	read := func(some ...string) time.Duration {
		began := time.Now()
		for _, r := range detokenize(b, v, shop, api.Plain, some...) {
			if r.Error != nil {
				b.Errorf("%+v", r.Error)
			}
		}
		return time.Since(began)
	}
	read(tokens[:batch]...)
	spread := make([]string, batch) // one of each person
	for n := range spread {
		spread[n] = tokens[n*values]
	}
	read(spread...)
	for _, c := range []struct {
		people int
		tokens []string
	}{{batch / values, tokens[:batch]}, {batch, spread}} {
		b.Run(fmt.Sprintf("people=%d", c.people), func(b *testing.B) {
			var aloneSingle, aloneBatch, besideSingle, besideBatch []time.Duration
			var without, with time.Duration
			single := func(n int) time.Duration { return read(tokens[n*7%len(tokens)]) }
			for n := range b.N {
				for i := range 20 {
					aloneSingle = append(aloneSingle, single(n*20+i))
				}
				aloneBatch = append(aloneBatch, read(c.tokens...))
				_, took := singles(single)
				without += took
				some, took := singles(single, func(over *atomic.Bool) {
					for !over.Load() {
						if took := read(c.tokens...); !over.Load() {
							besideBatch = append(besideBatch, took)
						}
					}
				})
				besideSingle, with = append(besideSingle, some...), with+took
			}
			b.ReportMetric(milliseconds(median(aloneSingle)), "alone-single-ms")
			b.ReportMetric(milliseconds(median(aloneBatch)), "alone-batch-ms")
			b.ReportMetric(float64(median(aloneBatch))/float64(median(aloneSingle)), "alone-batch/single")
			b.ReportMetric(milliseconds(median(besideSingle)), "beside-single-ms")
			b.ReportMetric(milliseconds(median(besideBatch)), "beside-batch-ms")
			b.ReportMetric(float64(median(besideBatch))/float64(median(besideSingle)), "beside-batch/single")
			b.ReportMetric(without.Seconds()/with.Seconds(), "singles-kept")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// singles has 63 clients make 100 calls each, beside others that go on until it is over, and returns how long each took and all together.
func singles(call func(n int) time.Duration, beside ...func(over *atomic.Bool)) (each []time.Duration, took time.Duration) {
	const clients, calls = 63, 100
	each = make([]time.Duration, clients*calls)
	var over atomic.Bool
	var work sync.WaitGroup
	for _, other := range beside {
		work.Go(func() { other(&over) })
	}
	began := time.Now()
	inTurns(clients, calls, func(n int) { each[n] = call(n) })
	took = time.Since(began)
	over.Store(true)
	work.Wait()
	return each, took
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
