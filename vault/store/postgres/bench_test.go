package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

// The benchmarks report transactions a second of a read by key and an insert of 300 bytes. Read them as ratios of one run:
// go test -run '^$' -bench . ./vault/store/postgres

func benchKey(n uint64) []byte {
	key := make([]byte, 24)
	binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15) // spread, as random ids are
	binary.BigEndian.PutUint64(key[8:], n)
	return key
}

var clientCounts = []int{16, 64}

func BenchmarkUpdate(b *testing.B) {
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := open(b, Options{DSN: pgserver.Start(b).Database(b), MaxConns: clients})
			var next, retries atomic.Uint64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
						err := s.Update(context.Background(), func(w store.Writer) error {
							retries.Add(1)
							if _, err := w.Get(benchKey(n / 2)); err != nil {
								return err
							}
							return w.Set(benchKey(n), make([]byte, 300))
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			b.ReportMetric(float64(retries.Load())/float64(b.N)-1, "retries/update")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPgbench is PostgreSQL's own client doing the same.
func BenchmarkPgbench(b *testing.B) {
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			made, rate, used := pgserver.Start(b).Pgbench(b, clients, b.N)
			b.ReportMetric(rate, "updates/s")
			b.ReportMetric(float64(used.Microseconds())/float64(made), "processor-µs/update")
			b.ReportMetric(0, "ns/op")
		})
	}
}
