package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

// BenchmarkPgbench is PostgreSQL's own client doing the same, READ COMMITTED, one statement a round trip.
func BenchmarkPgbench(b *testing.B) {
	const script = `\set n random(1, 1000000000)
begin;
select value from bench where key = int8send(:n);
insert into bench values (int8send(:n), decode(repeat('00', 300), 'hex')) on conflict do nothing;
commit;
`
	for _, clients := range clientCounts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			server := pgserver.Start(b)
			dsn := server.Database(b)
			if err := pgserver.Exec(b.Context(), dsn, "create table bench (key bytea primary key, value bytea not null)"); err != nil {
				b.Fatal(err)
			}
			bin, err := pgserver.Find()
			if err != nil {
				b.Fatal(err)
			}
			file := filepath.Join(b.TempDir(), "script")
			if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			out, err := exec.Command(filepath.Join(bin, "pgbench"), "-n", "-M", "prepared", "-f", file, "-c", strconv.Itoa(clients), "-j", "2",
				"-t", strconv.Itoa(b.N/clients+1), dsn).CombinedOutput()
			if err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			_, rest, _ := strings.Cut(string(out), "tps = ")
			tps, err := strconv.ParseFloat(strings.Fields(rest + " none")[0], 64)
			if err != nil {
				b.Fatalf("pgbench says no rate:\n%s", out)
			}
			b.ReportMetric(tps, "updates/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
