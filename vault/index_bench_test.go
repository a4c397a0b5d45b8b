package vault

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// syncs counts what commits take, which is mostly the disk.
type syncs struct{ took atomic.Int64 }

func (s *syncs) Committed(g badgerdb.Group) { s.took.Add(int64(g.Commit)) }

// BenchmarkMoveIndex carries entries over to another epoch in Badger: memory must not grow with them. In a folder in memory
// (TMPDIR=/dev/shm) a sync costs nothing, and entries/s is all else.
func BenchmarkMoveIndex(b *testing.B) {
	for _, entries := range []int{50_000, 500_000, 2_000_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) { moveIndex(b, entries) })
	}
}

func moveIndex(b *testing.B, entries int) {
	ctx := context.Background()
	observed := &syncs{}
	disk, err := badgerdb.Open(badgerdb.Options{Dir: filepath.Join(b.TempDir(), "store"), Observer: observed})
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	s := &Service{Options: Options{Tenant: "bench", Store: disk, Log: slog.New(slog.DiscardHandler), Clock: time.Now}, rows: layout{"bench"}}
	s.index.init(s)
	epoch := func(number uint32) *blind.Epoch {
		key := kms.NewID()
		e, err := blind.NewEpoch(number, secret.New(append(key[:], key[:]...)))
		if err != nil {
			b.Fatal(err)
		}
		return e
	}
	current := epoch(1)
	for from := 0; from < entries; from += moveAtOnce {
		err := disk.Update(ctx, func(w store.Writer) error {
			for n := range moveAtOnce {
				mac := kms.NewID()
				id := SubjectID(kms.NewID())
				entry, err := current.Entry(append(mac[:], mac[:]...))
				if err != nil {
					return err
				}
				if n%2 == 0 {
					err = w.Set(s.rows.unique("iin", entry), owner(id, 0))
					_ = w.Set(s.rows.indexed(id, "iin", 0), encodeIndexed(entry, true))
				} else {
					err = w.Set(s.rows.lookup("phone", entry, id, 0), nil)
					_ = w.Set(s.rows.indexed(id, "phone", 0), encodeIndexed(entry, false))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	observed.took.Store(0)
	before := inUse()
	most := before
	moved := 0
	b.ResetTimer()
	for range b.N {
		e := &epochs{row: indexRow{Current: current.Number() + 1, Leaving: current.Number(), Phase: indexMoving}, current: epoch(current.Number() + 1), leaving: current}
		e.raw = e.row.encode()
		if err := disk.Update(ctx, func(w store.Writer) error {
			_ = w.Delete(s.rows.meta(metaCursor))
			return w.Set(s.rows.meta(metaIndex), e.raw)
		}); err != nil {
			b.Fatal(err)
		}
		for pass := 0; ; pass++ {
			if err := s.index.pass(ctx, e); err != nil {
				b.Fatal(err)
			}
			if pass%10 == 0 {
				b.StopTimer()
				most = max(most, inUse())
				b.StartTimer()
			}
			c, err := s.index.cursor(ctx)
			if err != nil {
				b.Fatal(err)
			}
			if c.After == nil { // the pass is over
				moved += c.Moved
				break
			}
		}
		current = e.current
	}
	b.StopTimer()
	took := b.Elapsed()
	b.ReportMetric(float64(moved)/took.Seconds(), "entries/s")
	b.ReportMetric(float64(moved)/(took-time.Duration(observed.took.Load())).Seconds(), "entries/s-without-commits")
	b.ReportMetric(float64(before)/(1<<20), "MiB-before")
	b.ReportMetric(float64(most)/(1<<20), "MiB-at-most")
}

// inUse is how many bytes of the heap are in use, garbage not counted.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
