package keyring

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Pool is the durable record of the keys that were made ahead and belong to nobody yet: a row for each id. The vault
// implements it over its store. A row is removed by the Update that first uses the key (which must find the row there
// and not flipped) or by Forget; flipping a row takes it away from every such Update for good. An error means that the
// effect is unknown. Each call carries at most a few hundred ids, Reclaim's answer aside.
type Pool interface {
	// Reserve writes rows of this process, durably, before their keys are created.
	Reserve(ctx context.Context, ids ...kms.ID) error

	// Spoil flips the rows of keys that are surplus or whose creation failed. An id without a row is passed over: an
	// Update used it after all.
	Spoil(ctx context.Context, ids ...kms.ID) error

	// Reclaim flips the rows that an earlier process left, and returns the ids of all flipped rows, whoever flipped them
	// and when, until they are forgotten. What it names is destroyed, so it names only rows that the store has shown to be
	// flipped: one that was there before the flipping Update and gone in it is a person's key.
	Reclaim(ctx context.Context) ([]kms.ID, error)

	// Forget removes flipped rows; their keys are verified gone.
	Forget(ctx context.Context, ids ...kms.ID) error

	// Date notes that the provider had the keys of rows of this process at a time. Where keys wait for a snapshot
	// (Options.Snapshot), every row is dated before its key is given out, and Reclaim passes over dated rows.
	Date(ctx context.Context, made time.Time, ids ...kms.ID) error

	// Adopt makes dated rows that an earlier process left this process's own, at most so many, and returns them.
	Adopt(ctx context.Context, most int) ([]Dated, error)
}

// pool is the keys made ahead and what is to become of ids that nobody will use.
type pool struct {
	rows   Pool
	size   int
	settle time.Duration
	low    chan struct{} // holds one when the pool should be filled
	waste  chan struct{} // holds one when there are ids to spoil
	gate   gate

	mu      sync.Mutex
	closed  bool
	drops   int      // how often all were given up
	ready   []*entry // never shown to an Update; each with one reference
	waiting []Dated  // for a snapshot that contains them
	spoiled []kms.ID // to be spoiled by reap
	doomed  int      // as of the last reap, for Stats
}

func (p *pool) init(rows Pool, size int, settle time.Duration) {
	p.rows, p.size, p.settle = rows, size, settle
	p.low, p.waste = make(chan struct{}, 1), make(chan struct{}, 1)
	p.gate.opened = func() { nudge(p.low) }
}

// nudge leaves a signal unless one is there.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take removes up to n ready keys, and asks for more when fewer than three quarters are left.
func (p *pool) take(n int) []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := max(len(p.ready)-n, 0)
	taken := append([]*entry(nil), p.ready[left:]...)
	clear(p.ready[left:])
	p.ready = p.ready[:left]
	if left < p.size-p.size/4 {
		nudge(p.low)
	}
	return taken
}

// stock puts keys that were never shown to an Update into the pool.
func (p *pool) stock(entries ...*entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		for _, e := range entries {
			e.release()
		}
		return
	}
	p.ready = append(p.ready, entries...)
}

// drop gives up every key of the pool, and those that are being made: another node may have flipped their rows.
func (p *pool) drop() {
	p.mu.Lock()
	p.drops++
	ready := p.ready
	p.ready = nil
	p.mu.Unlock()
	ids := make([]kms.ID, len(ready))
	for i, e := range ready {
		ids[i] = e.id
		e.release()
	}
	if len(ids) > 0 {
		p.spoil(ids...)
	}
	nudge(p.low)
}

// dropped counts how often all were given up.
func (p *pool) dropped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drops
}

// missing is how many keys the pool lacks.
func (p *pool) missing() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size - len(p.ready) - len(p.waiting)
}

// spoil leaves ids to reap. Should the process end before, their rows are those of an earlier process.
func (p *pool) spoil(ids ...kms.ID) {
	p.keepSpoiled(ids)
	nudge(p.waste)
}

// keepSpoiled leaves ids to the next poll of reap, not at once: the store is away.
func (p *pool) keepSpoiled(ids []kms.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoiled = append(p.spoiled, ids...)
}

func (p *pool) takeSpoiled() []kms.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := p.spoiled
	p.spoiled = nil
	return ids
}

func (p *pool) close() {
	p.gate.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, e := range p.ready {
		e.release()
	}
	p.ready = nil
}

func (p *pool) stats(out *Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Ready, out.Waiting, out.Doomed = len(p.ready), len(p.waiting), p.doomed
}

// pollEvery is how often the loops look without being asked: the store may have become the live one, and the provider
// may have come back.
const pollEvery = 5 * time.Second

// refill keeps the pool full while the store is live.
func (k *Keyring) refill(ctx context.Context) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		k.top(ctx)
		select {
		case <-ctx.Done():
			return
		case <-k.pool.low:
		case <-poll.C:
		}
	}
}

// top makes keys until the pool is full or making fails; the gate then says when to try again, and with a single key.
func (k *Keyring) top(ctx context.Context) {
	for ctx.Err() == nil {
		if _, live := k.claim(); !live {
			return
		}
		made, err := k.topOnce(ctx)
		if err != nil && ctx.Err() == nil {
			k.observer.Trouble(fmt.Errorf("keyring: fill the pool: %w", err))
		}
		if err != nil || !made {
			return
		}
	}
}

// topOnce makes a batch of keys, and reports false when none was lacking.
func (k *Keyring) topOnce(ctx context.Context) (made bool, err error) {
	if k.snapshot != nil {
		if err := k.advance(ctx); err != nil {
			return false, err
		}
	}
	n := min(k.pool.missing(), k.pool.gate.allows(makeBatch))
	if n <= 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	entries, err := k.make(ctx, n)
	if err != nil {
		return false, err
	}
	if k.snapshot != nil {
		return true, k.putAway(ctx, entries)
	}
	k.pool.stock(entries...)
	return true, nil
}

// make creates n keys: rows first, then keys. After an error it is unknown which rows and keys exist, so all are spoiled.
func (k *Keyring) make(ctx context.Context, n int) ([]*entry, error) {
	drops := k.pool.dropped()
	ids := make([]kms.ID, n)
	for i := range ids {
		ids[i] = kms.NewID()
	}
	if err := k.pool.rows.Reserve(ctx, ids...); err != nil {
		k.pool.spoil(ids...)
		k.pool.gate.shut()
		return nil, fmt.Errorf("keyring: reserve %d keys: %w", n, err)
	}
	began := k.now()
	keys, err := k.kms.Create(ctx, ids...)
	if err == nil {
		err = check(ids, keys, false)
	}
	k.observer.Called(OpCreate, n, k.now().Sub(began), err)
	if err != nil {
		k.pool.spoil(ids...)
		k.pool.gate.shut()
		return nil, k.failure(fmt.Sprintf("create %d keys", n), err)
	}
	k.pool.gate.open()
	if k.pool.dropped() != drops {
		for _, key := range keys {
			key.Secret.Wipe()
		}
		k.pool.spoil(ids...)
		return nil, fmt.Errorf("keyring: create %d keys: given up with the rest of the pool: %w", n, kms.ErrUnavailable)
	}
	entries := make([]*entry, n)
	for i, key := range keys {
		entries[i] = k.hold(key, 1)
	}
	return entries, nil
}
