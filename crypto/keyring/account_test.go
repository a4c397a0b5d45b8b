package keyring

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Whatever fails and wherever a process dies, every key at the provider is named by a row or a person at every moment, no
// person's key is ever destroyed, and a process that is left in peace ends with nothing but its pool and the people.
func TestEveryKeyIsAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { // wrapped: a bubble has no deadline to ask for
			w := &world{
				provider: newProvider(rapid.Uint64().Draw(rt, "provider")),
				rows:     newRows(rapid.Uint64().Draw(rt, "rows")),
			}
			w.provider.latest, w.provider.slow = 50*time.Second, 3*time.Second
			if rapid.Bool().Draw(rt, "keys wait for a snapshot") {
				w.rows.snapshot = func() time.Time { return bubbleTime().Add(-15 * time.Second) }
			}
			for range rapid.IntRange(1, 3).Draw(rt, "processes") {
				w.provider.set(func() { w.provider.faults = rapid.Float64Range(0, 0.9).Draw(rt, "provider faults") })
				w.rows.fail(rapid.Float64Range(0, 0.5).Draw(rt, "store faults"))
				w.start(rt)
				for range rapid.IntRange(1, 6).Draw(rt, "steps") {
					w.register(rapid.IntRange(0, 10).Draw(rt, "people"))
					time.Sleep(time.Duration(rapid.IntRange(0, 40_000).Draw(rt, "ms")) * time.Millisecond)
					w.check(rt)
				}
				w.crash()
				w.check(rt)
			}
			w.provider.set(func() { w.provider.faults = 0; w.provider.slow = time.Second })
			w.rows.fail(0)
			w.start(rt)
			time.Sleep(4 * time.Minute)
			w.check(rt)
			if stats, keys, rows := w.ring.Stats(), w.provider.count(), w.rows.count(); stats.Ready != worldPool ||
				stats.Doomed != 0 || keys != rows+len(w.rows.people) || rows != worldPool && w.rows.snapshot == nil {
				rt.Errorf("%d ready, %d doomed, %d keys, %d rows, %d people", stats.Ready, stats.Doomed, keys, rows, len(w.rows.people))
			}
			w.crash()
		})
	})
}

// world is a provider and a store, and the process that uses them now.
type world struct {
	provider *provider
	rows     *rows
	number   int
	ring     *Keyring
	stop     context.CancelFunc
	work     sync.WaitGroup // Run and the registrations under way
	ctx      context.Context
}

// start begins a new process.
func (w *world) start(rt *rapid.T) {
	w.number++
	ring, err := New(Options{
		KMS: w.provider, MAC: w.provider, Pool: process{w.rows, w.number}, Now: bubbleTime, PoolSize: worldPool,
		Settle: time.Minute, Snapshot: w.rows.snapshot, Claim: func() (kms.Claim, bool) { return w.provider.claim, true },
	})
	if err != nil {
		rt.Fatal(err)
	}
	w.ring = ring
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.work.Go(func() { ring.Run(w.ctx) })
}

// register registers people at once, each as the vault does; some are kept though their Update failed after the commit.
func (w *world) register(n int) {
	ring, ctx := w.ring, w.ctx
	for range n {
		w.work.Go(func() {
			permit := ring.Permit()
			fresh, err := ring.Fresh(ctx, 1)
			if err != nil {
				return
			}
			defer fresh[0].Close()
			if err := w.rows.consume(ctx, fresh[0].ID(0)); err == nil {
				ring.Keep(fresh[0], permit)
			}
		})
	}
}

// crash ends the process where it stands: what it asked for may still happen, and it does nothing more.
func (w *world) crash() {
	w.stop()
	w.ring.Close()
	w.work.Wait()
}

// check checks what must be true at every moment.
func (w *world) check(rt *rapid.T) {
	if ids := orphans(w.provider, w.rows); len(ids) != 0 {
		rt.Fatalf("%d keys are named by no row and no person", len(ids))
	}
	w.provider.mu.Lock()
	defer w.provider.mu.Unlock()
	w.rows.mu.Lock()
	defer w.rows.mu.Unlock()
	if w.rows.unsaved > 0 {
		rt.Fatalf("%d people have keys that no snapshot contains", w.rows.unsaved)
	}
	for id := range w.rows.people {
		if _, ok := w.provider.keys[id]; !ok {
			rt.Fatalf("the key of a person is gone")
		}
	}
}

// worldPool is the size of the pool of every process of a world.
const worldPool = 5
