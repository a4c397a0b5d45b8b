package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleTime is the time of a synctest bubble: it moves only when every goroutine waits.
func bubbleTime() time.Time { return time.Now() } //nolint:forbidigo // the bubble's clock, which the test holds

// bench is a keyring over a provider and a store that misbehave when told to.
type bench struct {
	*Keyring
	provider *provider
	rows     *rows
	copied   bool // the store is a copy
	heard    trouble
}

// trouble is an Observer that remembers what it heard.
type trouble struct {
	mu   sync.Mutex
	errs []error
}

func (o *trouble) Called(Operation, int, time.Duration, error) {}

func (o *trouble) Trouble(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

// inBubble runs a test on a keyring whose time the test holds.
func inBubble(t *testing.T, options Options, f func(*testing.T, *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, options)
		defer b.Close()
		f(t, b)
	})
}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	b := &bench{provider: newProvider(1), rows: newRows(1)}
	o.KMS, o.MAC, o.Pool = b.provider, b.provider, process{b.rows, 1}
	o.Claim = func() (kms.Claim, bool) { return b.provider.claim, !b.copied }
	o.Observer = &b.heard
	if o.Now == nil {
		o.Now = bubbleTime
	}
	k, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.Keyring = k
	return b
}

// run starts Run and returns what stops it and waits.
func (b *bench) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { b.Run(ctx) })
	return func() { cancel(); run.Wait() }
}

// open opens one key, returning its error if either has one.
func (b *bench) open(ctx context.Context, p Permit, id kms.ID) (*Opened, error) {
	o, err := b.Open(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// use opens and closes one key under a new permit.
func (b *bench) use(id kms.ID) error {
	o, err := b.open(context.Background(), b.Permit(), id)
	if err == nil {
		o.Close()
	}
	return err
}

func want(t *testing.T, got, want error, doing string) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", doing, got, want)
	}
}

func TestOpenReturnsTheProvidersKeysInOrder(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		ids := b.provider.add(300)
		ids[7] = kms.NewID() // which the provider does not have
		ids[9] = ids[8]
		for _, from := range []string{"provider", "cache"} {
			o, err := b.Open(t.Context(), b.Permit(), ids...)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				key, err := o.Key(i)
				stored := b.provider.key(id)
				if i == 7 {
					want(t, err, ErrMissing, "Key of a missing key")
				} else if err != nil || !bytes.Equal(key.Expose(), stored[:]) || o.ID(i) != id {
					t.Fatalf("key %d from the %s is not the provider's (%v)", i, from, err)
				}
			}
			o.Close()
			o.Close()
			_, err = o.Key(0)
			want(t, err, ErrClosed, "Key after Close")
		}
		if n := b.provider.reads(ids[8]); n != 1 {
			t.Errorf("a key asked for twice in two calls was read %d times, want once", n)
		}
		for i, s := range b.provider.answers {
			if !bytes.Equal(s.Expose(), make([]byte, kms.KeySize)) {
				t.Fatalf("the provider's copy %d was not wiped", i)
			}
		}
	})
}

func TestColdOpensShareFewCalls(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		ids := b.provider.add(64)
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		for _, id := range ids {
			for range 3 {
				callers.Go(func() { want(t, b.use(id), nil, "Open") })
			}
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if n := b.provider.called(OpOpen); n > callsOut+1 {
			t.Errorf("%d calls for 64 keys asked for at once, want at most %d", n, callsOut+1)
		}
		for _, id := range ids {
			if n := b.provider.reads(id); n != 1 {
				t.Errorf("a key that three asked for at once was read %d times", n)
			}
		}
	})
}

func TestACallerWhoLeavesDoesNotFailTheOthers(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		ids := b.provider.add(2)
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { // the first, whose call it is
			_, err := b.Open(ctx, b.Permit(), ids...)
			want(t, err, context.Canceled, "Open of the one who left")
		})
		synctest.Wait()
		callers.Go(func() { want(t, b.use(ids[0]), nil, "Open of the one who stayed") })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(hold)
		callers.Wait()
		want(t, b.use(ids[1]), nil, "Open later")
	})
}

func TestNobodyAsksForWhatNobodyWaitsFor(t *testing.T) {
	for op, ask := range map[Operation]func(context.Context, *bench) error{
		OpOpen: func(ctx context.Context, b *bench) error {
			_, err := b.Open(ctx, b.Permit(), b.provider.add(1)[0])
			return err
		},
		OpMAC:    func(ctx context.Context, b *bench) error { _, err := b.MAC(ctx, []byte("x")); return err },
		OpCreate: func(ctx context.Context, b *bench) error { _, err := b.Fresh(ctx, 1); return err },
	} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *bench) {
				hold := make(chan struct{})
				b.provider.set(func() { b.provider.hold = hold })
				ctx, cancel := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				for range callsOut + 3 {
					callers.Go(func() { want(t, ask(ctx, b), context.Canceled, "asking") })
					synctest.Wait()
				}
				cancel()
				callers.Wait()
				close(hold)
				synctest.Wait()
				if n := b.provider.called(op); n != callsOut {
					t.Errorf("%d calls, want only the %d that were out when the callers left", n, callsOut)
				}
			})
		})
	}
}

func TestAFlightThatEverybodyLeftStillTakesLaterCallers(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		ids := b.provider.add(callsOut + 1)
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, id := range ids {
			callers.Go(func() { _, _ = b.Open(ctx, b.Permit(), id) })
			synctest.Wait()
		}
		cancel()
		callers.Wait()
		callers.Go(func() { want(t, b.use(ids[callsOut]), nil, "Open before the flight took off") })
		synctest.Wait()
		close(hold)
		callers.Wait()
		want(t, b.use(ids[0]), nil, "Open later")
	})
}

func TestAProviderThatBreaksItsContractIsNotBelieved(t *testing.T) {
	for name, mangle := range map[string]func([]kms.Key) []kms.Key{
		"another id":  func(k []kms.Key) []kms.Key { k[0].ID = kms.NewID(); return k },
		"short key":   func(k []kms.Key) []kms.Key { k[0].Secret = secret.New([]byte("short")); return k },
		"no keys":     func([]kms.Key) []kms.Key { return nil },
		"a key extra": func(k []kms.Key) []kms.Key { return append(k, k[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, b *bench) {
				b.provider.mangle = mangle
				want(t, b.use(b.provider.add(1)[0]), kms.ErrCorrupt, "Open")
				_, err := b.Fresh(t.Context(), 1)
				want(t, err, kms.ErrCorrupt, "Fresh")
				if n := b.arena.used; n != 0 {
					t.Errorf("%d keys were taken over", n)
				}
			})
		})
	}
	t.Run("no fresh key", func(t *testing.T) {
		inBubble(t, Options{}, func(t *testing.T, b *bench) {
			b.provider.mangle = func(k []kms.Key) []kms.Key { k[0].Secret = secret.Bytes{}; return k }
			_, err := b.Fresh(t.Context(), 1)
			want(t, err, kms.ErrCorrupt, "Fresh")
		})
	})
}

func TestAClockSetBackLengthensNoLease(t *testing.T) {
	now := time.Unix(1000, 0)
	inBubble(t, Options{Now: func() time.Time { return now }}, func(t *testing.T, b *bench) {
		p := b.Permit()
		now = now.Add(-time.Minute)
		o, err := b.open(t.Context(), p, b.provider.add(1)[0])
		if err != nil {
			t.Fatal(err)
		}
		o.Close()
		if b.Stats().Cached != 0 {
			t.Error("a key was cached under a permit from the future")
		}
	})
}

func TestACorruptKeyFailsAlone(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		ids := b.provider.add(10)
		b.provider.corrupt[ids[3]] = true
		o, err := b.Open(t.Context(), b.Permit(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for i := range ids {
			if _, err := o.Key(i); errors.Is(err, kms.ErrCorrupt) != (i == 3) || (err == nil) != (i != 3) {
				t.Errorf("Key(%d) = %v", i, err)
			}
		}
	})
}

func TestTheLeaseRunsFromThePermit(t *testing.T) {
	inBubble(t, Options{Lease: 15 * time.Second}, func(t *testing.T, b *bench) {
		id := b.provider.add(1)[0]
		reads := func() int { return b.provider.reads(id) }

		p := b.Permit()
		time.Sleep(10 * time.Second)
		o, err := b.open(t.Context(), p, id)
		if err != nil {
			t.Fatal(err)
		}
		o.Close()
		time.Sleep(4 * time.Second) // 14 s after the permit
		o, err = b.open(t.Context(), p, id)
		if err != nil || reads() != 1 {
			t.Fatalf("within the lease: %v after %d reads, want one", err, reads())
		}
		o.Close()
		time.Sleep(2 * time.Second) // 16 s after it
		old, err := b.open(t.Context(), p, id)
		if err != nil || reads() != 2 {
			t.Fatalf("after the lease: %v after %d reads, want a second", err, reads())
		}
		old.Close()
		if b.Stats().Cached != 0 {
			t.Error("a permit older than the lease left its key in the cache")
		}

		want(t, b.use(id), nil, "Open")
		time.Sleep(10 * time.Second)
		want(t, b.use(id), nil, "Open under a later permit")
		time.Sleep(10 * time.Second)
		want(t, b.use(id), nil, "Open within the lease of the later permit")
		if reads() != 3 {
			t.Errorf("%d reads, want the third to be the last", reads())
		}
	})
}

func TestPermitsAgeAndTheZeroOneDenies(t *testing.T) {
	inBubble(t, Options{PermitLife: time.Minute}, func(t *testing.T, b *bench) {
		id := b.provider.add(1)[0]
		_, err := b.Open(t.Context(), Permit{}, id)
		want(t, err, ErrPermit, "Open under the zero permit")
		p := b.Permit()
		time.Sleep(time.Minute + 1)
		_, err = b.Open(t.Context(), p, id)
		want(t, err, ErrPermit, "Open under a permit of yesterday")
	})
}

func TestRunWipesWhatItsLeaseLeft(t *testing.T) {
	inBubble(t, Options{Lease: 15 * time.Second, PoolSize: -1}, func(t *testing.T, b *bench) {
		defer b.run(t)()
		o, err := b.open(t.Context(), b.Permit(), b.provider.add(1)[0])
		if err != nil {
			t.Fatal(err)
		}
		bytesOf := o.keys[0].entry.slot
		b.Purge(kms.NewID())
		time.Sleep(30 * time.Second)
		if b.Stats().Cached != 0 {
			t.Error("still cached after its lease")
		}
		if *bytesOf == (slot{}) {
			t.Fatal("wiped while it was used")
		}
		o.Close()
		if *bytesOf != (slot{}) {
			t.Error("not wiped when its last user closed it")
		}
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	inBubble(t, Options{CacheSize: 2 * shards}, func(t *testing.T, b *bench) {
		ids := b.provider.add(6 * shards)
		for _, id := range ids {
			want(t, b.use(id), nil, "Open")
		}
		synctest.Wait() // for the last call to let go of its key
		s := b.Stats()
		if s.Cached > 2*shards {
			t.Errorf("%d cached, want at most %d", s.Cached, 2*shards)
		}
		if used := b.arena.used; used != s.Cached {
			t.Errorf("%d slots in use for %d keys", used, s.Cached)
		}
	})
}

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	inBubble(t, Options{CacheSize: 2 * shards}, func(t *testing.T, b *bench) {
		var ids []kms.ID // of one shard
		for len(ids) < 3 {
			if id := b.provider.add(1)[0]; id[0]%shards == 0 {
				ids = append(ids, id)
			}
		}
		for _, i := range []int{0, 1, 0, 2, 0, 2, 1} {
			want(t, b.use(ids[i]), nil, "Open")
		}
		for i, reads := range []int{1, 2, 1} {
			if got := b.provider.reads(ids[i]); got != reads {
				t.Errorf("key %d was read %d times, want %d", i, got, reads)
			}
		}
	})
}

func TestWhileTheProviderIsAway(t *testing.T) {
	inBubble(t, Options{PoolSize: 8, Timeout: 2 * time.Second}, func(t *testing.T, b *bench) {
		defer b.run(t)()
		synctest.Wait()
		ids := b.provider.add(2)
		want(t, b.use(ids[0]), nil, "Open")
		b.provider.set(func() { b.provider.down = true })

		want(t, b.use(ids[0]), nil, "Open of a leased key")
		want(t, b.use(ids[1]), kms.ErrUnavailable, "Open of a cold key")
		fresh, err := b.Fresh(t.Context(), 8)
		want(t, err, nil, "Fresh from the pool")
		for _, o := range fresh {
			want(t, b.rows.consume(t.Context(), o.ID(0)), nil, "consume")
			b.Keep(o, b.Permit())
			o.Close()
		}
		_, err = b.Fresh(t.Context(), 1)
		want(t, err, kms.ErrUnavailable, "Fresh with the pool empty")

		created := b.provider.called(OpCreate)
		time.Sleep(time.Minute)
		if n := b.provider.called(OpCreate) - created; n > 12 {
			t.Errorf("%d attempts to make keys in a minute of outage, want them further and further apart", n)
		}
		if n := b.rows.count(); n > 30 {
			t.Errorf("the outage left %d rows", n)
		}
		b.provider.set(func() { b.provider.down = false })
		time.Sleep(2*lastPause + 2*b.pool.settle)
		if s := b.Stats(); s.Ready != 8 || s.Doomed != 0 {
			t.Errorf("after the outage %d are ready and %d doomed, want 8 and none", s.Ready, s.Doomed)
		}
		if n := b.rows.count(); n != 8 {
			t.Errorf("%d rows are left of the outage beside the pool's 8", n-8)
		}
	})
}

func TestAProviderThatHangsIsAwayInTime(t *testing.T) {
	inBubble(t, Options{Timeout: 2 * time.Second}, func(t *testing.T, b *bench) {
		ids := b.provider.add(2)
		want(t, b.use(ids[0]), nil, "Open")
		hold := make(chan struct{})
		defer close(hold)
		b.provider.set(func() { b.provider.hold = hold })
		o, err := b.Open(t.Context(), b.Permit(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		_, err = o.Key(0)
		_, err2 := o.Key(1)
		want(t, err, nil, "Key of a leased key beside a cold one")
		want(t, err2, kms.ErrUnavailable, "Key of the cold one")
		for range 3 * callsOut {
			for name, call := range map[string]func() error{
				"Open": func() error {
					o, err := b.Open(t.Context(), b.Permit(), b.provider.add(2)...)
					if err == nil {
						defer o.Close()
						err = o.Err()
					}
					return err
				},
				"MAC":   func() error { _, err := b.MAC(t.Context(), []byte("x")); return err },
				"Fresh": func() error { _, err := b.Fresh(t.Context(), 3); return err },
			} {
				began := bubbleTime()
				want(t, call(), kms.ErrUnavailable, name)
				if took := bubbleTime().Sub(began); took > 2*time.Second {
					t.Errorf("%s took %v to fail, want 2 s", name, took)
				}
			}
		}
	})
}

func TestMACsOfManyCallersShareFewCalls(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		for i := range 64 {
			callers.Go(func() {
				inputs := make([][]byte, 1+i%5)
				for j := range inputs {
					inputs[j] = fmt.Appendf(nil, "%d %d", i, j)
				}
				sums, err := b.MAC(t.Context(), inputs...)
				if err != nil || len(sums) != len(inputs) {
					t.Errorf("MAC = %d sums, %v", len(sums), err)
					return
				}
				for j := range inputs {
					if !bytes.Equal(sums[j], mac(inputs[j])) {
						t.Errorf("MAC %d of caller %d is not that of its input", j, i)
					}
				}
			})
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if n := b.provider.called(OpMAC); n > callsOut+1 {
			t.Errorf("%d calls for 64 callers, want at most %d", n, callsOut+1)
		}
	})
}

func TestALargeMACIsCutIntoBatches(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		inputs := make([][]byte, 3*macBatch+1)
		for i := range inputs {
			inputs[i] = fmt.Append(nil, i)
		}
		sums, err := b.MAC(t.Context(), inputs...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range inputs {
			if !bytes.Equal(sums[i], mac(inputs[i])) {
				t.Fatalf("MAC %d is not that of its input", i)
			}
		}
		if n := b.provider.called(OpMAC); n != 4 {
			t.Errorf("%d calls, want 4", n)
		}
		if sums, err := b.MAC(t.Context()); sums != nil || err != nil {
			t.Errorf("MAC of nothing = %v, %v", sums, err)
		}
	})
}

func TestACopyOpensAndDoesNothingElse(t *testing.T) {
	inBubble(t, Options{Settle: time.Second}, func(t *testing.T, b *bench) {
		b.copied = true
		id := b.provider.add(1)[0]
		b.rows.rows[id] = row{process: 0} // left by the process this store was copied from
		stop := b.run(t)
		time.Sleep(time.Minute)
		want(t, b.use(id), nil, "Open")
		_, err := b.Fresh(t.Context(), 1)
		want(t, err, ErrCopy, "Fresh")
		want(t, b.Destroy(t.Context(), id), ErrCopy, "Destroy")
		stop()
		if n := b.provider.called(OpCreate) + b.provider.called(OpDestroy); n != 0 || b.rows.rows[id].flipped {
			t.Errorf("the copy made or destroyed keys in %d calls, or flipped rows", n)
		}
		want(t, b.use(id), nil, "Open")
	})
}

func TestDestroyIsSureOrFails(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *bench) {
		ids := b.provider.add(3)
		want(t, b.use(ids[0]), nil, "Open")
		b.provider.down = true
		want(t, b.Destroy(t.Context(), ids...), kms.ErrUnavailable, "Destroy while the provider is away")
		want(t, b.use(ids[0]), kms.ErrUnavailable, "Open of a purged key")
		b.provider.down = false
		want(t, b.Destroy(t.Context(), ids...), nil, "Destroy")
		want(t, b.use(ids[0]), ErrMissing, "Open of a destroyed key")
		b.provider.claim.Generation.Number++
		old := b.claim
		b.claim = func() (kms.Claim, bool) { c, live := old(); c.Generation.Number--; return c, live }
		want(t, b.Destroy(t.Context(), ids...), kms.ErrClaim, "Destroy by a superseded store")
	})
}

func TestAfterCloseEverythingFails(t *testing.T) {
	inBubble(t, Options{PoolSize: 4}, func(t *testing.T, b *bench) {
		stop := b.run(t)
		synctest.Wait()
		id := b.provider.add(1)[0]
		o, err := b.open(t.Context(), b.Permit(), id)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		b.Close()
		b.Close()
		key, err := o.Key(0)
		if stored := b.provider.key(id); err != nil || !bytes.Equal(key.Expose(), stored[:]) {
			t.Errorf("a key held over Close changed (%v)", err)
		}
		if used := b.arena.used; used != 1 {
			t.Errorf("%d slots in use after Close, want the one that is held", used)
		}
		o.Close()
		if b.arena.regions != nil {
			t.Error("memory was not given back when the last key was closed")
		}
		_, err = b.MAC(t.Context(), []byte("x"))
		want(t, err, ErrClosed, "MAC")
		_, err = b.Fresh(t.Context(), 1)
		want(t, err, ErrClosed, "Fresh")
		want(t, b.use(id), ErrClosed, "Open")
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	p := newProvider(1)
	whole := Options{KMS: p, MAC: p, Pool: process{}, Claim: func() (kms.Claim, bool) { return kms.Claim{}, false }, Now: bubbleTime}
	for name, spoil := range map[string]func(*Options){
		"no KMS":          func(o *Options) { o.KMS = nil },
		"no MACer":        func(o *Options) { o.MAC = nil },
		"no Pool":         func(o *Options) { o.Pool = nil },
		"no Claim":        func(o *Options) { o.Claim = nil },
		"no clock":        func(o *Options) { o.Now = nil },
		"negative lease":  func(o *Options) { o.Lease = -1 },
		"negative settle": func(o *Options) { o.Settle = -1 },
		"no patience":     func(o *Options) { o.Timeout = -1 },
		"short permits":   func(o *Options) { o.PermitLife = time.Second },
	} {
		o := whole
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(whole); err != nil {
		t.Error(err)
	}
}
