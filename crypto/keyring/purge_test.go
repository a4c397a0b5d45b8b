package keyring

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestPurgeRefusesThePermitsBeforeIt(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		id := b.provider.add(1)[0]
		before := b.Permit()
		want(t, b.use(id), nil, "Open")
		b.Purge(id)
		_, err := b.open(t.Context(), before, id)
		want(t, err, ErrPurged, "Open under a permit from before the purge")
		if b.Stats().Cached != 0 {
			t.Error("a permit from before the purge brought the key back into the cache")
		}
		want(t, b.use(id), nil, "Open under one from after it") // which caches the key again
		_, err = b.open(t.Context(), before, id)
		want(t, err, ErrPurged, "Open under the old permit with the key cached under a new one")
		b.Purge(kms.NewID())
		want(t, b.use(id), nil, "Open of another key than the purged one")
		if n := b.provider.reads(id); n != 2 {
			t.Errorf("read %d times, want twice", n)
		}
	})
}

func TestPurgeEndsOpeningsInFlightAtOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(2)
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() { want(t, b.use(ids[0]), ErrPurged, "Open that was overtaken") })
		}
		other := make(chan error)
		go func() { other <- b.use(ids[1]) }()
		synctest.Wait()
		b.Purge(ids[0])
		callers.Wait() // while the provider still hangs
		close(hold)
		want(t, <-other, nil, "Open of another key")
		synctest.Wait()
		if s := b.Stats(); s.Cached != 1 || b.arena.used != 1 {
			t.Errorf("%d cached in %d slots, want the other key alone", s.Cached, b.arena.used)
		}
		for _, answer := range b.provider.answers {
			if answer.Expose()[0] != 0 {
				t.Error("what the provider answered too late was not wiped")
			}
		}
		want(t, b.use(ids[0]), nil, "Open under a permit from after the purge")
	})
}

// A cached key waits in an Open for a cold one beside it. A purge meanwhile must be seen, even when the key had left the
// cache before the purge came.
func TestPurgeOvertakesACachedKeyThatWaitsForAnother(t *testing.T) {
	for name, evict := range map[string]func(*rig, kms.ID){
		"cached":  func(*rig, kms.ID) {},
		"evicted": func(b *rig, _ kms.ID) { b.cache.expire(bubbleTime().Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, b *rig) {
				ids := b.provider.add(2)
				want(t, b.use(ids[0]), nil, "Open")
				hold := make(chan struct{})
				b.provider.set(func() { b.provider.hold = hold })
				var caller sync.WaitGroup
				caller.Go(func() {
					o, err := b.Open(t.Context(), b.Permit(), ids...)
					if err != nil {
						t.Error(err)
						return
					}
					defer o.Close()
					_, err = o.Key(0)
					want(t, err, ErrPurged, "Key of the purged one")
					_, err = o.Key(1)
					want(t, err, nil, "Key of the other")
				})
				synctest.Wait()
				evict(b, ids[0])
				b.Purge(ids[0])
				close(hold)
				caller.Wait()
			})
		})
	}
}

func TestWhatIsHeldOutlivesThePurgeAndIsThenWiped(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		id := b.provider.add(1)[0]
		var held []*Opened
		for range 2 {
			o, err := b.open(t.Context(), b.Permit(), id)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, o)
		}
		b.Purge(id)
		key, err := held[0].Key(0)
		if err != nil || key.Expose()[0] == 0 {
			t.Fatalf("a held key was wiped by a purge (%v)", err)
		}
		held[0].Close()
		if key.Expose()[0] == 0 {
			t.Fatal("wiped while another held it")
		}
		held[1].Close()
		for _, c := range key.Expose() {
			if c != 0 {
				t.Fatal("not wiped when the last holder closed it")
			}
		}
	})
}

func TestPurgesAreForgottenOnlyWhenNoPermitIsOlder(t *testing.T) {
	inBubble(t, Options{PermitLife: time.Minute, PoolSize: -1}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		id := b.provider.add(1)[0]
		remembered := func() (n int) {
			for i := range b.cache.shards {
				s := &b.cache.shards[i]
				s.mu.Lock()
				n += len(s.purged)
				s.mu.Unlock()
			}
			return n
		}
		p := b.Permit()
		b.Purge(id)
		time.Sleep(59 * time.Second)
		_, err := b.open(t.Context(), p, id)
		want(t, err, ErrPurged, "Open under an old permit that still lives")
		time.Sleep(90 * time.Second)
		if n := remembered(); n != 0 {
			t.Errorf("%d purges remembered after every permit has died", n)
		}
		_, err = b.open(t.Context(), p, id)
		want(t, err, ErrPermit, "Open under the dead permit")
	})
}

func TestKeepAfterAPurgeCachesNothing(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		p := b.Permit()
		fresh, err := b.Fresh(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		b.Purge(fresh[0].ID(0))
		b.Keep(fresh[0], p)
		fresh[0].Close()
		synctest.Wait()
		if b.Stats().Cached != 0 || b.arena.used != 0 {
			t.Error("a purged key was kept")
		}
	})
}

// The promise of Purge, on one key, as a sequential object: a purge raises the mark, and an Open hands the key out only
// under a permit above the mark. An Open may always refuse.
var purgeModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		mark := state.(uint64)
		switch in := input.(type) {
		case purged:
			return true, max(mark, uint64(in))
		case permitted:
			return !output.(bool) || uint64(in) > mark, mark
		}
		panic("unknown input")
	},
	Equal: func(a, b any) bool { return a == b },
}

type (
	purged    uint64 // the number of a purge
	permitted uint64 // the count in the permit of an Open; the output is whether it got the key
)

// history collects operations with a time that only orders them.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) record(client int, input any, do func() any) {
	call := h.clock.Add(1)
	output := do()
	end := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: input, Call: call, Output: output, Return: end})
}

// Openings and purges race on real time, so that the race detector and every interleaving have their chance; the history
// of each key is then checked against purgeModel. Whatever key is handed out must be whole until it is closed.
func TestNoOpenSurvivesAPurgeThatItsPermitPrecedes(t *testing.T) {
	b := newRig(t, Options{
		CacheSize: shards, Lease: time.Hour, PermitLife: 2 * time.Hour, Timeout: time.Minute, PoolSize: -1,
		Now: newClock(),
	})
	defer b.Close()
	b.provider.slow = 200 * time.Microsecond
	ids := b.provider.add(4)
	histories := make([]history, len(ids))
	const clients, rounds = 8, 150
	var group sync.WaitGroup
	var opened, refused atomic.Int64
	for c := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(c)))
			permits := []Permit{b.Permit()}
			for range rounds {
				i := random.IntN(len(ids))
				switch n := random.IntN(10); {
				case n == 0:
					next := b.cache.purges.Load() + 1 // no purge that begins now has a lower number
					histories[i].record(c, purged(next), func() any { b.Purge(ids[i]); return nil })
				case n < 4:
					permits = append(permits, b.Permit())
				default:
					p := permits[max(0, len(permits)-1-random.IntN(2))]
					beside := ids[random.IntN(len(ids))]
					histories[i].record(c, permitted(p.purges), func() any {
						o, err := b.Open(context.Background(), p, ids[i], beside)
						if err != nil {
							t.Error(err)
							return false
						}
						key, err := o.Key(0)
						got := err == nil
						if got {
							opened.Add(1)
							if stored := b.provider.key(ids[i]); slot(key.Expose()) != stored {
								t.Error("a key was handed out that is not the one asked for")
							}
						} else if refused.Add(1); !errors.Is(err, ErrPurged) {
							t.Error(err)
						}
						defer o.Close()
						return got
					})
				}
			}
		})
	}
	group.Wait()
	if opened.Load() == 0 || refused.Load() == 0 {
		t.Fatalf("%d opened and %d refused: nothing was tested", opened.Load(), refused.Load())
	}
	for i := range histories {
		if got := porcupine.CheckOperationsTimeout(purgeModel, histories[i].ops, time.Minute); got != porcupine.Ok {
			t.Errorf("key %d: an Open handed out what a purge had taken before (%s)", i, got)
		}
	}
}
