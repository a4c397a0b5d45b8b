package vault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// BenchmarkDetokenizeBesidePgbench reports detokenize calls a second on PostgreSQL, transactions of pgbench (a read by key and an insert)
// a second on the same server just before, and the ratio; and for both what one takes of the processors, server and client, which says
// more on a machine that does other things, too:
// SANDYQ_TEST_STORE=postgres go test -run '^$' -bench BesidePgbench -benchtime 20000x ./vault
func BenchmarkDetokenizeBesidePgbench(b *testing.B) {
	if os.Getenv(vaulttest.StoreVariable) != "postgres" {
		b.Skip("runs with " + vaulttest.StoreVariable + "=postgres")
	}
	v := vaulttest.New(b, asServed())
	shop := app(v)
	tokens := people(b, v, shop, 2000)
	server := pgserver.Shared(b)
	for _, clients := range clients {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			made, rate, used := server.Pgbench(b, clients, b.N)
			took, cost := measure(b, server, func() {
				callers(b, clients, func(n int) {
					if r := detokenize(b, v, shop, api.Plain, tokens[n*7%len(tokens)])[0]; r.Error != nil {
						b.Errorf("%+v", r.Error)
					}
				})
			})
			calls := float64(b.N) / took.Seconds()
			b.ReportMetric(rate, "pgbench/s")
			b.ReportMetric(calls, "detokenize/s")
			b.ReportMetric(calls/rate, "of-pgbench")
			b.ReportMetric(float64(used.Microseconds())/float64(made), "pgbench-µs")
			b.ReportMetric(float64(cost.Microseconds())/float64(b.N), "detokenize-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// asServed has the background do what it does by default outside tests.
func asServed() vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) { o.SweepEvery, o.LogEvery = 0, 0 })
}

// BenchmarkDetokenizeOnTwoNodes reports detokenize calls a second of 64 clients on PostgreSQL, all at one node, and half of them at each of
// two, the ratio, and what a call takes of the processors. Both nodes are in this process and share its processors with each other and the
// server; rounds of one and of two alternate:
// SANDYQ_TEST_STORE=postgres go test -run '^$' -bench TwoNodes -benchtime 20x ./vault
func BenchmarkDetokenizeOnTwoNodes(b *testing.B) {
	if os.Getenv(vaulttest.StoreVariable) != "postgres" {
		b.Skip("runs with " + vaulttest.StoreVariable + "=postgres")
	}
	home := b.TempDir()
	keys := must[*local.Keyring](b)(vaulttest.Keyring(filepath.Join(home, "keyring")))
	b.Cleanup(func() { keys.Close() })
	var nodes []*vaulttest.Vault
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, vaulttest.At(b, home, asServed(), vaulttest.With(func(o *vault.Options) {
			o.Keys, o.Nodes = keys, &vault.Nodes{Name: name}
		})))
	}
	shop := app(nodes[0])
	tokens := people(b, nodes[0], shop, 2000)
	const clients, calls = 64, 50 // of each client, in each round
	type sum struct{ took, used time.Duration }
	round := func(count int, all *sum) {
		took, used := measure(b, pgserver.Shared(b), func() {
			inTurns(clients, calls, func(n int) {
				if r := detokenize(b, nodes[n/calls%count], shop, api.Plain, tokens[n*7%len(tokens)])[0]; r.Error != nil {
					b.Errorf("%+v", r.Error)
				}
			})
		})
		all.took, all.used = all.took+took, all.used+used
	}
	var one, two, opening sum
	round(2, &opening) // of keys and connections
	for n := range b.N {
		if n%2 == 0 { // so that neither is always the first
			round(1, &one)
			round(2, &two)
		} else {
			round(2, &two)
			round(1, &one)
		}
	}
	made := float64(b.N * clients * calls)
	b.ReportMetric(made/one.took.Seconds(), "one-node/s")
	b.ReportMetric(made/two.took.Seconds(), "two-nodes/s")
	b.ReportMetric(one.took.Seconds()/two.took.Seconds(), "two-of-one")
	b.ReportMetric(float64(one.used.Microseconds())/made, "one-node-µs")
	b.ReportMetric(float64(two.used.Microseconds())/made, "two-nodes-µs")
	b.ReportMetric(0, "ns/op")
}

// measure gives the time that f takes, and the processor time, of this process and of the server.
func measure(b *testing.B, server *pgserver.Server, f func()) (took, used time.Duration) {
	b.Helper()
	processor := func() time.Duration {
		var own unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
			b.Fatal(err)
		}
		return time.Duration(own.Utime.Nano()+own.Stime.Nano()) + server.Processor(b)
	}
	before := processor()
	began := time.Now()
	f()
	return time.Since(began), processor() - before
}

// callers runs f from so many callers, b.N times in all.
func callers(b *testing.B, clients int, f func(n int)) {
	b.Helper()
	var next atomic.Int64
	var work errgroup.Group
	for range clients {
		work.Go(func() error {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				f(int(n))
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		b.Error(err)
	}
}
