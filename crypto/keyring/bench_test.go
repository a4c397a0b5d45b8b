package keyring

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// newClock is a clock for tests on real time: it moves with every reading and by nothing else.
func newClock() func() time.Time {
	var now atomic.Int64
	return func() time.Time { return time.Unix(0, now.Add(1)) }
}

func BenchmarkOpenCached(b *testing.B) {
	k := newRig(b, Options{Now: newClock(), Lease: time.Hour, PermitLife: time.Hour})
	defer k.Close()
	ids := k.provider.add(1024)
	o, err := k.Open(b.Context(), k.Permit(), ids...)
	if err != nil {
		b.Fatal(err)
	}
	o.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			o, err := k.Open(b.Context(), k.Permit(), ids[i%len(ids)])
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := o.Key(0); err != nil {
				b.Error(err)
			}
			o.Close()
		}
	})
	if n := k.provider.called(OpOpen); n > 8 {
		b.Errorf("%d calls: the cache was not what was measured", n)
	}
}

// 64 callers at a provider that takes a millisecond for a call: gathered into batches, and each on its own.
func BenchmarkMAC64Callers(b *testing.B) {
	const callers = 64
	input := []byte("870101300017")
	for _, how := range []string{"gathered", "alone"} {
		b.Run(how, func(b *testing.B) {
			k := newRig(b, Options{Now: newClock()})
			defer k.Close()
			one := make(chan struct{}, callsOut) // the same number of calls out at once
			mac := func() error {
				if how == "gathered" {
					_, err := k.MAC(b.Context(), input)
					return err
				}
				one <- struct{}{}
				defer func() { <-one }()
				_, err := k.provider.MAC(b.Context(), input)
				return err
			}
			k.provider.slow = 2 * time.Millisecond // a millisecond on average
			var left atomic.Int64
			left.Store(int64(b.N))
			var group sync.WaitGroup
			b.ResetTimer()
			for range callers {
				group.Go(func() {
					for left.Add(-1) >= 0 {
						if err := mac(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/float64(max(k.provider.called(OpMAC), 1)), "MACs/call")
		})
	}
}

func BenchmarkOpenCold(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := newRig(b, Options{Now: newClock(), CacheSize: -1})
			defer k.Close()
			ids := k.provider.add(n)
			for b.Loop() {
				o, err := k.Open(b.Context(), k.Permit(), ids...)
				if err != nil {
					b.Fatal(err)
				}
				o.Close()
			}
		})
	}
}
