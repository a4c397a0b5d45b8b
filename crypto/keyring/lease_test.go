package keyring

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestAClockSetBackLengthensNoLease(t *testing.T) {
	now := time.Unix(1000, 0)
	inBubble(t, Options{Now: func() time.Time { return now }}, func(t *testing.T, b *rig) {
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

func TestTheLeaseRunsFromThePermit(t *testing.T) {
	inBubble(t, Options{Lease: 15 * time.Second}, func(t *testing.T, b *rig) {
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
	inBubble(t, Options{PermitLife: time.Minute}, func(t *testing.T, b *rig) {
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
	inBubble(t, Options{Lease: 15 * time.Second, PoolSize: -1}, func(t *testing.T, b *rig) {
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
	inBubble(t, Options{CacheSize: 2 * shards}, func(t *testing.T, b *rig) {
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
	inBubble(t, Options{CacheSize: 2 * shards}, func(t *testing.T, b *rig) {
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
