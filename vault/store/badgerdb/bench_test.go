package badgerdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

// The benchmarks report Updates a second of a 24-byte key and a 300-byte value. Read them as ratios of one run:
// go test -run '^$' -bench . ./vault/store/badgerdb

const benchValue = 300

func benchKey(n uint64, i int) []byte {
	key := make([]byte, 24)
	binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15) // spread, as random ids are
	binary.BigEndian.PutUint64(key[8:], n)
	binary.BigEndian.PutUint64(key[16:], uint64(i))
	return key
}

// share runs b.N calls of f on so many goroutines and reports their rate.
func share(b *testing.B, clients int, f func(n uint64) error) {
	var next atomic.Uint64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for n := next.Add(1); n <= uint64(b.N); n = next.Add(1) {
				if err := f(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(0, "ns/op")
}

func openBench(b *testing.B) *Store {
	s, err := Open(Options{Dir: b.TempDir(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func BenchmarkBareBadger(b *testing.B) {
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			value := make([]byte, benchValue)
			share(b, clients, func(n uint64) error {
				return db.Update(func(txn *badger.Txn) error { return txn.Set(benchKey(n, 0), value) })
			})
		})
	}
}

func BenchmarkGroupCommit(b *testing.B) {
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := openBench(b)
			value := make([]byte, benchValue)
			share(b, clients, func(n uint64) error {
				return s.Update(context.Background(), func(w store.Writer) error { return w.Set(benchKey(n, 0), value) })
			})
		})
	}
}

// BenchmarkGroupCommitMixed has every tenth Update write 50 keys, as a batch request does.
func BenchmarkGroupCommitMixed(b *testing.B) {
	s := openBench(b)
	value := make([]byte, benchValue)
	share(b, 64, func(n uint64) error {
		writes := 1
		if n%10 == 0 {
			writes = 50
		}
		return s.Update(context.Background(), func(w store.Writer) error {
			for i := range writes {
				if err := w.Set(benchKey(n, i), value); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// BenchmarkReadBeforeWrite is the shape of a disclosure: look at three keys, append one.
func BenchmarkReadBeforeWrite(b *testing.B) {
	s := openBench(b)
	value := make([]byte, benchValue)
	share(b, 64, func(n uint64) error {
		return s.Update(context.Background(), func(w store.Writer) error {
			if _, err := w.Get(benchKey(n-1, 0), benchKey(n-2, 0), benchKey(n/2, 0)); err != nil {
				return err
			}
			return w.Set(benchKey(n, 0), value)
		})
	})
}

// BenchmarkViewUnderLoad reads while 16 clients write.
func BenchmarkViewUnderLoad(b *testing.B) {
	s := openBench(b)
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for c := range 16 {
		load.Go(func() {
			for n := uint64(c) << 32; ctx.Err() == nil; n++ {
				_ = s.Update(ctx, func(w store.Writer) error { return w.Set(benchKey(n, 0), make([]byte, benchValue)) })
			}
		})
	}
	share(b, 4, func(n uint64) error {
		return s.View(context.Background(), func(r store.Reader) error {
			_, err := r.Get(benchKey(n&0xff, 0))
			return err
		})
	})
	stop()
	load.Wait()
}
