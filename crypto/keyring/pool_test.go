package keyring

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestFreshComesFromThePoolWhichFillsAgain(t *testing.T) {
	inBubble(t, Options{PoolSize: 100}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		synctest.Wait()
		if s := b.Stats(); s.Ready != 100 {
			t.Fatalf("%d keys ready, want 100", s.Ready)
		}
		created := b.provider.called(OpCreate)
		b.provider.set(func() { b.provider.slow = time.Second })
		began := bubbleTime()
		seen := map[kms.ID]bool{}
		fresh, err := b.Fresh(t.Context(), 60)
		if err != nil || !bubbleTime().Equal(began) {
			t.Fatalf("Fresh = %v after %v, want no wait", err, bubbleTime().Sub(began))
		}
		for _, o := range fresh {
			key, err := o.Key(0)
			if stored := b.provider.key(o.ID(0)); err != nil || slot(key.Expose()) != stored || seen[o.ID(0)] {
				t.Fatalf("a fresh key is not the provider's, or was handed out twice (%v)", err)
			}
			seen[o.ID(0)] = true
			want(t, b.rows.consume(t.Context(), o.ID(0)), nil, "consume")
			b.Keep(o, b.Permit())
			o.Close()
			want(t, b.use(o.ID(0)), nil, "Open of a kept key")
		}
		if n := b.provider.called(OpOpen); n != 0 {
			t.Errorf("kept keys were read %d times", n)
		}
		time.Sleep(10 * time.Second)
		if s := b.Stats(); s.Ready != 100 {
			t.Errorf("%d keys ready later, want 100", s.Ready)
		}
		if n := b.provider.called(OpCreate) - created; n > 2 {
			t.Errorf("%d calls to make 60 keys", n)
		}
	})
}

func TestFreshMakesWhatThePoolLacks(t *testing.T) {
	inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		var mu sync.Mutex
		seen := map[kms.ID]bool{}
		for range 64 {
			callers.Go(func() {
				fresh, err := b.Fresh(t.Context(), 2)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for _, o := range fresh {
					seen[o.ID(0)] = true
					o.Close()
				}
			})
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if n := b.provider.called(OpCreate); len(seen) != 128 || n > callsOut+2 {
			t.Errorf("%d different keys in %d calls, want 128 in a few", len(seen), n)
		}
	})
}

func TestAKeyMadeForOneWhoLeftGoesToThePool(t *testing.T) {
	inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		ctx, cancel := context.WithCancel(t.Context())
		var caller sync.WaitGroup
		caller.Go(func() {
			_, err := b.Fresh(ctx, 2)
			want(t, err, context.Canceled, "Fresh")
		})
		synctest.Wait()
		cancel()
		caller.Wait()
		close(hold)
		synctest.Wait()
		if s := b.Stats(); s.Ready != 2 {
			t.Errorf("%d keys ready, want the 2 that nobody fetched", s.Ready)
		}
		if n := len(orphans(b.provider, b.rows)); n != 0 {
			t.Errorf("%d orphans", n)
		}
	})
}

func TestCloseWithoutKeepDestroysTheKeyUnlessItIsUsed(t *testing.T) {
	inBubble(t, Options{PoolSize: 4, Settle: time.Minute}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		fresh, err := b.Fresh(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		unused, used := fresh[0].ID(0), fresh[1].ID(0)
		want(t, b.rows.consume(t.Context(), used), nil, "consume") // of which the caller does not hear
		for _, o := range fresh {
			o.Close()
		}
		synctest.Wait()
		if b.provider.key(unused) != (slot{}) {
			t.Error("the unused key is still there")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if b.rows.count() != 4 || b.Stats().Doomed != 0 {
			t.Errorf("%d rows, want those of the 4 keys in the pool", b.rows.count())
		}
		want(t, b.use(used), nil, "Open of the key that was used")
		if n := b.provider.called(OpDestroy); n != 2 {
			t.Errorf("%d calls to destroy one key, want one at once and one after it has settled", n)
		}
	})
}

func TestACreationThatLandsLateIsDestroyed(t *testing.T) {
	inBubble(t, Options{PoolSize: -1, Settle: time.Minute}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		b.provider.set(func() { b.provider.down = true })
		_, err := b.Fresh(t.Context(), 1)
		want(t, err, kms.ErrUnavailable, "Fresh")
		b.provider.set(func() { b.provider.down = false })
		time.Sleep(50 * time.Second) // the id was destroyed long ago
		b.rows.mu.Lock()
		var late []kms.ID
		for id := range b.rows.rows {
			late = append(late, id)
		}
		b.rows.mu.Unlock()
		if len(late) != 1 {
			t.Fatalf("%d rows, want the one", len(late))
		}
		b.provider.set(func() { b.provider.create(late) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.provider.count() != 0 || b.rows.count() != 0 {
			t.Errorf("%d keys and %d rows are left", b.provider.count(), b.rows.count())
		}
	})
}

func TestAnEarlierProcessesKeysAreDestroyed(t *testing.T) {
	inBubble(t, Options{PoolSize: 4, Settle: time.Minute}, func(t *testing.T, b *rig) {
		left := b.provider.add(3 * reapBatch)
		for _, id := range left {
			b.rows.rows[id] = row{process: 0}
		}
		defer b.run(t)()
		synctest.Wait()
		if n := b.provider.count(); n != 4 {
			t.Errorf("%d keys, want the pool's alone", n)
		}
		if n := b.rows.count(); n != len(left)+4 {
			t.Errorf("%d rows: some were forgotten before they had settled", n)
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if n := b.rows.count(); n != 4 {
			t.Errorf("%d rows, want the pool's alone", n)
		}
	})
}

func TestAStoreThatIsAwayIsTriedAgainInPeace(t *testing.T) {
	inBubble(t, Options{PoolSize: 4}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		fresh, err := b.Fresh(t.Context(), 1)
		want(t, err, nil, "Fresh")
		b.rows.fail(2)
		fresh[0].Close()
		time.Sleep(time.Minute)
		b.rows.fail(0)
		b.heard.mu.Lock()
		if n := len(b.heard.errs); n == 0 || n > 60 {
			t.Errorf("%d failures in a minute, want them told and far apart", n)
		}
		b.heard.mu.Unlock()
		time.Sleep(lastPause + 2*b.pool.settle)
		if n := len(orphans(b.provider, b.rows)); n != 0 {
			t.Errorf("%d orphans", n)
		}
		if s := b.Stats(); s.Ready != 4 || b.rows.count() != 4 {
			t.Errorf("%d ready and %d rows, want 4", s.Ready, b.rows.count())
		}
	})
}

func TestARowOfAReservationThatSeemedToFailIsForgotten(t *testing.T) {
	inBubble(t, Options{PoolSize: -1, Settle: time.Minute}, func(t *testing.T, b *rig) {
		b.rows.lose(true)
		if _, err := b.Fresh(t.Context(), 1); err == nil {
			t.Error("Fresh succeeded though its reservation seemed to fail")
		}
		if n := b.rows.count(); n != 1 || b.provider.called(OpCreate) != 0 {
			t.Errorf("%d rows and %d creations, want one row and no key", n, b.provider.called(OpCreate))
		}
		b.rows.lose(false)
		defer b.run(t)()
		time.Sleep(3 * time.Minute)
		if n := b.rows.count(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestKeysMadeInVainGoToThePool(t *testing.T) {
	inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold, b.provider.free = hold, 1 })
		_, err := b.Fresh(t.Context(), makeBatch+10) // of which the second call hangs
		want(t, err, kms.ErrUnavailable, "Fresh")
		if n := b.Stats().Ready; n != makeBatch && n != 10 {
			t.Errorf("%d ready after one of the calls", n)
		}
		if n := len(orphans(b.provider, b.rows)); n != 0 {
			t.Errorf("%d orphans", n)
		}
		close(hold)
		synctest.Wait()
	})
}

func TestKeepDoesNotOverfillTheCache(t *testing.T) {
	inBubble(t, Options{PoolSize: -1, CacheSize: shards}, func(t *testing.T, b *rig) {
		fresh, err := b.Fresh(t.Context(), 5*shards)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range fresh {
			b.Keep(o, b.Permit())
			b.Keep(o, b.Permit())
			o.Close()
		}
		synctest.Wait()
		if ids := b.pool.takeSpoiled(); len(ids) != 0 {
			t.Errorf("%d kept keys were spoiled", len(ids))
		}
		if s := b.Stats(); s.Cached > shards || b.arena.used != s.Cached {
			t.Errorf("%d cached in %d slots, want at most %d", s.Cached, b.arena.used, shards)
		}
	})
}

func TestSpoiledIdsAreNotTheKeyringsToDestroy(t *testing.T) {
	inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		fresh, err := b.Fresh(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		id := fresh[0].ID(0)
		b.rows.fail(1)
		for !b.rows.people[id] {
			if err := b.rows.consume(t.Context(), id); err == nil {
				t.Fatal("the store does not fail")
			}
		}
		b.rows.fail(0)
		fresh[0].Close()
		time.Sleep(10 * time.Minute)
		if err := b.use(id); errors.Is(err, ErrMissing) {
			t.Error("the key of a person whose registration seemed to fail was destroyed")
		}
	})
}
