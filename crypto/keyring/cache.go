package keyring

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

// slot is where the bytes of one key lie: in the arena, outside Go's heap.
type slot = [kms.KeySize]byte

// entry is an open key. Whoever may reach it holds a reference; the last to let go wipes it.
type entry struct {
	id     kms.ID
	slot   *slot
	secret secret.Bytes // the slot, as it is handed out
	arena  *arena
	refs   atomic.Int32 // the cache's or pool's one, and one for each holder

	// Owned by the shard's lock while the entry is in the cache.
	expires      time.Time
	newer, older *entry
}

// hold copies a key that the provider answered into the arena, wipes the provider's copy, and returns it with refs
// references.
func (k *Keyring) hold(key kms.Key, refs int32) *entry {
	s := k.arena.get()
	e := &entry{id: key.ID, slot: s, secret: secret.New(s[:]), arena: k.arena}
	copy(s[:], key.Secret.Expose())
	key.Secret.Wipe()
	e.refs.Store(refs)
	return e
}

// release lets go of one reference.
func (e *entry) release() {
	if e.refs.Add(-1) == 0 {
		e.arena.put(e.slot)
	}
}

// shards is how many independent parts the cache has. Ids are random, so their first byte spreads them evenly.
const shards = 64

// cache holds the open keys under lease, the openings in flight, and the memory of purges.
type cache struct {
	lease, permitLife time.Duration
	purges            atomic.Uint64 // purges that have begun
	shards            [shards]shard
}

// shard is the part of the cache for some ids. Its lock is held for a few map operations and never across I/O.
type shard struct {
	mu           sync.Mutex
	room         int // entries it may hold
	entries      map[kms.ID]*entry
	ends         entry // ends.older is the most recently used entry, ends.newer the least recently used
	flights      map[kms.ID]*flight
	purged       map[kms.ID]purge
	all          uint64 // the last purge of every id
	hits, misses uint64
}

// purge remembers that an id was purged: which purge it was, and when.
type purge struct {
	number uint64
	at     time.Time
}

func (c *cache) init(size int, lease, permitLife time.Duration) {
	c.lease, c.permitLife = lease, permitLife
	for i := range c.shards {
		s := &c.shards[i]
		s.room = (size + shards - 1) / shards
		s.entries = make(map[kms.ID]*entry)
		s.flights = make(map[kms.ID]*flight)
		s.purged = make(map[kms.ID]purge)
		s.ends.newer, s.ends.older = &s.ends, &s.ends
	}
}

func (c *cache) shard(id kms.ID) *shard { return &c.shards[id[0]%shards] }

// refuses reports whether a purge of id began after the permit was taken. The lock is held.
func (s *shard) refuses(id kms.ID, p Permit) bool {
	return s.all >= p.purges || len(s.purged) > 0 && s.purged[id].number >= p.purges
}

// insert puts an entry, with a reference that is now the cache's, in front of all. The lock is held. What it displaced
// is returned for the caller to release.
func (s *shard) insert(e *entry, expires time.Time) (displaced *entry) {
	if old := s.entries[e.id]; old != nil {
		s.remove(old)
		displaced = old
	} else if len(s.entries) >= s.room {
		displaced = s.ends.newer
		s.remove(displaced)
	}
	s.entries[e.id] = e
	e.expires = expires
	s.front(e)
	return displaced
}

// front makes an entry that is in no list the most recently used. The lock is held.
func (s *shard) front(e *entry) {
	e.newer, e.older = &s.ends, s.ends.older
	e.older.newer, s.ends.older = e, e
}

// touch makes an entry the most recently used. The lock is held.
func (s *shard) touch(e *entry) {
	e.newer.older, e.older.newer = e.older, e.newer
	s.front(e)
}

// remove takes an entry out; its reference passes to the caller. The lock is held.
func (s *shard) remove(e *entry) {
	delete(s.entries, e.id)
	e.newer.older, e.older.newer = e.older, e.newer
	e.newer, e.older = nil, nil
}

// Purge forgets the keys now: it takes them out of the cache, ends openings in flight with ErrPurged and refuses every
// permit taken before. See the package comment for what that promises.
func (k *Keyring) Purge(ids ...kms.ID) {
	number := k.cache.purges.Add(1)
	at := k.now()
	for _, id := range ids {
		if e := k.cache.shard(id).purge(id, purge{number, at}); e != nil {
			e.release()
		}
	}
}

// PurgeAll is Purge of every key there is. Those made ahead are given up, too: whoever took this process for gone has flipped
// their rows.
func (k *Keyring) PurgeAll() {
	k.pool.drop()
	number := k.cache.purges.Add(1)
	for i := range k.cache.shards {
		for _, e := range k.cache.shards[i].purgeAll(number) {
			e.release()
		}
	}
}

// purgeAll marks every id and returns the entries that were cached.
func (s *shard) purgeAll(number uint64) (cached []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = max(s.all, number)
	for _, f := range s.flights {
		s.land(f, nil, ErrPurged)
	}
	for _, e := range s.entries {
		s.remove(e)
		cached = append(cached, e)
	}
	return cached
}

// purge marks id and returns the entry that was cached under it.
func (s *shard) purge(id kms.ID, p purge) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.purged[id].number < p.number {
		s.purged[id] = p
	}
	if f := s.flights[id]; f != nil {
		s.land(f, nil, ErrPurged)
	}
	e := s.entries[id]
	if e != nil {
		s.remove(e)
	}
	return e
}

// expire ends leases that have run out and forgets purges that no permit can be older than.
func (k *Keyring) expire(ctx context.Context) {
	every := time.NewTicker(max(k.cache.lease/4, 10*time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			k.cache.expire(k.now())
		}
	}
}

func (c *cache) expire(now time.Time) {
	for i := range c.shards {
		for _, e := range c.shards[i].expire(now, now.Add(-2*c.permitLife)) {
			e.release()
		}
	}
}

func (s *shard) expire(now, forget time.Time) (expired []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if !now.Before(e.expires) {
			s.remove(e)
			expired = append(expired, e)
		}
	}
	for id, p := range s.purged {
		if p.at.Before(forget) {
			delete(s.purged, id)
		}
	}
	return expired
}

// close forgets every entry.
func (c *cache) close() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.room = 0
		for _, e := range s.entries {
			s.remove(e)
			e.release()
		}
		s.mu.Unlock()
	}
}

func (c *cache) stats(out *Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		out.Hits += s.hits
		out.Misses += s.misses
		out.Cached += len(s.entries)
		s.mu.Unlock()
	}
}
