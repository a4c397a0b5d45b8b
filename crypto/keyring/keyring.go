// Package keyring stands between the vault and its key provider: it keeps keys made ahead for people not yet registered,
// keeps the keys of people in use open for a short lease, and gathers concurrent calls into batches.
//
// # Permits and leases
//
// The store alone decides whether a key may be used. A caller takes a [Permit] before it begins the Update that decides,
// and opens with it after that Update has returned. An opened key stays in the cache until the lease runs out, counted
// from the latest permit that opened it; a permit older than the lease still opens, and leaves nothing in the cache.
//
// # What a purge promises
//
// When [Keyring.Purge] has returned, no [Keyring.Open] whose permit was taken before the purge began hands out the key,
// whether it was called before or after: openings in flight end with [ErrPurged] at once, later ones are refused, and
// what the provider still answers is wiped. To whom the key was handed out before, it stays valid until Opened.Close;
// the bytes are wiped when the last of them has closed. A vault that blocks a person commits the block, purges, and then
// acknowledges: every permit taken later belongs to an Update that sees the block.
//
// # Every key is accounted for
//
// A key at the provider is always named by a row of the [Pool] or by a person. A row is durable before its key is
// created; the Update that first uses a key removes its row; a row goes only after its key is verifiably gone. The
// keyring destroys by itself nothing but what [Pool.Reclaim] names, never from its own memory, so a key whose row was
// consumed by an Update that seemed to fail is safe. Because a creation that timed out may land late, an id is destroyed
// when it is reclaimed and once more when Options.Settle has passed, and only then forgotten. A crash anywhere leaves rows
// that the next process reclaims.
//
// # Keys that a snapshot contains
//
// A provider that is restored from a snapshot has lost the keys made since. With Options.Snapshot a key is given out only
// when it was at the provider before a snapshot was taken: after it was made its row is dated, and it waits, closed, in
// the pool. Once a snapshot contains it, it is opened, which shows that it is there, and is ready. None is made on demand.
// The next process adopts what this one leaves.
//
// A copy of the store (Options.Claim says not live) opens keys and does nothing else: it makes, reclaims and destroys none.
//
// # Memory
//
// Keys lie outside Go's heap in pages that are locked and left out of core dumps where the system allows, and are wiped
// as soon as nobody uses them. What the provider's client held is wiped after it was copied.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// The ways the keyring itself refuses; the provider's failures are those of package kms.
var (
	// ErrPurged: the key was purged after the permit was taken. Ask the store again.
	ErrPurged = errors.New("keyring: key purged since the permit")
	// ErrPermit: the permit is the zero one or older than Options.PermitLife.
	ErrPermit = errors.New("keyring: permit missing or too old")
	// ErrMissing: the provider answered and has no such key. It is not proof of destruction.
	ErrMissing = errors.New("keyring: provider has no such key")
	// ErrCopy: the store is a copy, which makes and destroys no keys.
	ErrCopy = errors.New("keyring: a copy of the store makes and destroys no keys")
	// ErrClosed: the keyring or the opened keys were closed.
	ErrClosed = errors.New("keyring: closed")
)

// DefaultTimeout is how long a call to a provider may take.
const DefaultTimeout = 2 * time.Second

// Options configure a Keyring. KMS, MAC, Pool, Claim and Now are required; a zero elsewhere means the default.
type Options struct {
	KMS  kms.KMS
	MAC  kms.MACer
	Pool Pool
	// Claim is the store's title to the keys, and whether the store is the live one. Called often; it must not block.
	Claim func() (claim kms.Claim, live bool)
	// Hold says why nothing may be read at the moment, or nil. While it does, its error is that of every key that is opened and of
	// MAC. Called often; it must not block. Nil never holds.
	Hold func() error
	// Snapshot, if given, has keys wait until a snapshot of the provider contains them: it tells the time up to which one contains
	// every key made, zero when there is none. Called often; it must not block.
	Snapshot func() time.Time
	// Now is the clock for leases, permits and settling; readings should be monotonic.
	Now func() time.Time

	PoolSize  int           // keys made ahead; default 256; negative makes none ahead
	CacheSize int           // keys kept open, spread over 64 shards; default 65536 (2 MiB); negative keeps none
	Lease     time.Duration // how long after its permit a key stays in the cache; default 15 s
	Timeout   time.Duration // bound of each call to the provider and of each wait for one; default DefaultTimeout
	// PermitLife is the age at which a permit opens nothing any more; default 5 min. Purges are remembered for twice as
	// long, at about 100 bytes each.
	PermitLife time.Duration
	// Settle is longer than the provider may take to carry out a request that was given up; default kms.Settle.
	Settle time.Duration
	// Observer may be nil.
	Observer Observer
}

// Observer hears what the keyring does. Its methods are called from many goroutines and must not block.
type Observer interface {
	// Called reports one call to the provider: what was asked, for how many items, and how it went.
	Called(op Operation, items int, took time.Duration, err error)
	// Trouble reports what failed in the background or weakens the protection of keys, such as memory that cannot be
	// locked. The keyring goes on.
	Trouble(err error)
}

// Operation names a call to the provider.
type Operation string

// The calls that an Observer hears of.
const (
	OpOpen    Operation = "open"
	OpCreate  Operation = "create"
	OpDestroy Operation = "destroy"
	OpMAC     Operation = "mac"
)

// Keyring holds open keys and keys made ahead. It is safe for concurrent use.
type Keyring struct {
	kms      kms.KMS
	mac      kms.MACer
	claim    func() (kms.Claim, bool)
	refusal  func() error     // Options.Hold
	snapshot func() time.Time // Options.Snapshot
	now      func() time.Time
	observer Observer
	timeout  time.Duration

	cache cache
	pool  pool
	arena *arena

	opens batcher[*flight]
	makes batcher[*order]
	macs  batcher[*macItem]

	life   context.Context // of every batch; ends with Close
	end    context.CancelFunc
	work   sync.WaitGroup // batches in flight
	closed atomic.Bool
}

// New makes a keyring. It opens and makes no key before it is asked; the pool fills while Run runs.
func New(o Options) (*Keyring, error) {
	if o.KMS == nil || o.MAC == nil || o.Pool == nil || o.Claim == nil || o.Now == nil {
		return nil, errors.New("keyring: KMS, MAC, Pool, Claim and Now are required")
	}
	or(&o.PoolSize, 256)
	or(&o.CacheSize, 65536)
	or(&o.Lease, 15*time.Second)
	or(&o.Timeout, DefaultTimeout)
	or(&o.PermitLife, 5*time.Minute)
	or(&o.Settle, kms.Settle)
	if o.Lease < 0 || o.Timeout < 0 || o.PermitLife < o.Lease || o.Settle < 0 {
		return nil, errors.New("keyring: times must be positive, and PermitLife no shorter than Lease")
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	if o.Hold == nil {
		o.Hold = func() error { return nil }
	}
	k := &Keyring{
		kms: o.KMS, mac: o.MAC, claim: o.Claim, refusal: o.Hold, snapshot: o.Snapshot, now: o.Now, observer: o.Observer, timeout: o.Timeout,
		arena: newArena(o.Observer.Trouble),
	}
	k.life, k.end = context.WithCancel(context.Background())
	k.cache.init(max(o.CacheSize, 0), o.Lease, o.PermitLife)
	k.pool.init(o.Pool, max(o.PoolSize, 0), o.Settle)
	k.opens.init(k, openBatch, k.fly)
	k.makes.init(k, makeBatch, k.fill)
	k.macs.init(k, macBatch, k.sum)
	return k, nil
}

// or sets *v to a default when it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Run keeps the pool full, destroys what Pool.Reclaim names and ends leases that ran out. It returns when ctx has ended
// and its goroutines have. What fails in it is told to the Observer and tried again.
func (k *Keyring) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { k.refill(ctx) })
	loops.Go(func() { k.reap(ctx) })
	loops.Go(func() { k.expire(ctx) })
	loops.Wait()
}

// Close ends the calls in flight, forgets every key and wipes those that nobody holds; what is held is wiped when its
// holder closes it. Run must have returned. Calls after Close fail with ErrClosed.
func (k *Keyring) Close() {
	if k.closed.Swap(true) {
		return
	}
	k.end()
	k.opens.close()
	k.makes.close()
	k.macs.close()
	k.work.Wait()
	k.pool.close()
	k.cache.close()
	k.arena.close()
}

// Destroy purges the keys and has the provider destroy them under the store's claim. It returns nil only when every key
// was seen to be gone (see kms.KMS), and may be repeated. A copy of the store gets ErrCopy.
func (k *Keyring) Destroy(ctx context.Context, ids ...kms.ID) error {
	k.Purge(ids...)
	claim, live := k.claim()
	if !live {
		return ErrCopy
	}
	began := k.now()
	err := k.kms.Destroy(ctx, claim, ids...)
	k.observer.Called(OpDestroy, len(ids), k.now().Sub(began), err)
	if err != nil {
		return fmt.Errorf("keyring: destroy %d keys: %w", len(ids), err)
	}
	return nil
}

// Stats is a snapshot of the keyring for gauges and counters.
type Stats struct {
	Hits, Misses  uint64 // keys asked for since New that were in the cache, and that were not
	Cached        int    // keys in the cache
	Ready         int    // keys in the pool
	Waiting       int    // keys made ahead that wait for a snapshot
	Doomed        int    // ids reclaimed and not yet forgotten
	LockedBytes   int    // memory for keys that is locked
	UnlockedBytes int    // memory for keys that could not be locked
}

// Stats reports the present state.
func (k *Keyring) Stats() Stats {
	var s Stats
	k.cache.stats(&s)
	k.pool.stats(&s)
	k.arena.stats(&s)
	return s
}

// nobody is the Observer of those who have none.
type nobody struct{}

func (nobody) Called(Operation, int, time.Duration, error) {}
func (nobody) Trouble(error)                               {}
