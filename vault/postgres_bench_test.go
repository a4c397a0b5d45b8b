package vault_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

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
	v := vaulttest.New(b)
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
