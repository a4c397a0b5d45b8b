package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

// provider is a key provider harsher than any real one: slow at random, failing before and after the effect, and with
// creations that land long after their caller was told that they failed.
type provider struct {
	claim kms.Claim

	mu      sync.Mutex
	random  *rand.Rand
	keys    map[kms.ID][kms.KeySize]byte
	corrupt map[kms.ID]bool
	down    bool
	faults  float64                   // the chance that a call fails
	latest  time.Duration             // until when a failed creation may land; zero: never
	slow    time.Duration             // calls take up to so long
	hold    chan struct{}             // calls wait until it is closed, whatever their context says,
	free    int                       // but not so many of each kind
	mangle  func([]kms.Key) []kms.Key // what becomes of an answer; nil: nothing
	calls   map[Operation]int
	read    map[kms.ID]int // how often a key was read
	answers []secret.Bytes // every secret answered: the keyring must have wiped them
}

func newProvider(seed uint64) *provider {
	return &provider{
		claim:  kms.Claim{Sentinel: kms.Sentinel{1}, Generation: kms.Generation{Number: 1, Instance: kms.NewID()}},
		random: rand.New(rand.NewPCG(seed, 1)),
		keys:   map[kms.ID][kms.KeySize]byte{}, corrupt: map[kms.ID]bool{},
		calls: map[Operation]int{}, read: map[kms.ID]int{},
	}
}

// set changes the provider's mood.
func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// add makes keys as if they had been there always.
func (p *provider) add(n int) []kms.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]kms.ID, n)
	for i := range ids {
		ids[i] = kms.NewID()
		p.keys[ids[i]] = newKey()
	}
	return ids
}

func newKey() (k [kms.KeySize]byte) {
	copy(k[:], fmt.Sprintf("%s%s", kms.NewID(), kms.NewID()))
	return k
}

// key is what is stored under an id; zeros when nothing is.
func (p *provider) key(id kms.ID) slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[id]
}

func (p *provider) reads(id kms.ID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read[id]
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys)
}

func (p *provider) called(op Operation) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[op]
}

// outcome is how a call will go.
type outcome int

const (
	succeeds outcome = iota
	failsBefore
	failsAfter
	failsAndLandsLate
)

// begin counts a call, takes its time and decides how it goes.
func (p *provider) begin(ctx context.Context, op Operation) outcome {
	p.mu.Lock()
	p.calls[op]++
	hold, slow := p.hold, time.Duration(0)
	if p.calls[op] <= p.free {
		hold = nil
	}
	if p.slow > 0 {
		slow = time.Duration(p.random.Int64N(int64(p.slow)))
	}
	p.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return failsBefore
	case ctx.Err() != nil, p.random.Float64() < p.faults:
		return failsBefore + outcome(p.random.IntN(3))
	default:
		return succeeds
	}
}

func away(op Operation) error { return fmt.Errorf("%s: injected: %w", op, kms.ErrUnavailable) }

func (p *provider) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	how := p.begin(ctx, OpCreate)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch how {
	case failsBefore:
		return nil, away(OpCreate)
	case failsAfter: // for some of them
		p.create(ids[:p.random.IntN(len(ids)+1)])
		return nil, away(OpCreate)
	case failsAndLandsLate:
		if p.latest > 0 {
			time.AfterFunc(time.Duration(p.random.Int64N(int64(p.latest))), func() { p.set(func() { p.create(ids) }) })
		}
		return nil, away(OpCreate)
	default:
		return p.create(ids), nil
	}
}

func (p *provider) create(ids []kms.ID) []kms.Key {
	keys := make([]kms.Key, len(ids))
	for i, id := range ids {
		p.keys[id] = newKey()
		keys[i] = p.answer(id)
	}
	return p.mangled(keys)
}

func (p *provider) mangled(keys []kms.Key) []kms.Key {
	if p.mangle == nil {
		return keys
	}
	return p.mangle(keys)
}

// answer returns a key of its own for the caller to wipe. The lock is held.
func (p *provider) answer(id kms.ID) kms.Key {
	key, ok := p.keys[id]
	if !ok {
		return kms.Key{ID: id}
	}
	s := secret.New(key[:])
	p.answers = append(p.answers, s)
	return kms.Key{ID: id, Secret: s}
}

func (p *provider) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	how := p.begin(ctx, OpOpen)
	p.mu.Lock()
	defer p.mu.Unlock()
	if how != succeeds {
		return nil, away(OpOpen)
	}
	keys := make([]kms.Key, len(ids))
	for i, id := range ids {
		p.read[id]++
		if p.corrupt[id] {
			return nil, kms.ErrCorrupt
		}
		keys[i] = p.answer(id)
	}
	return p.mangled(keys), nil
}

func (p *provider) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	how := p.begin(ctx, OpDestroy)
	p.mu.Lock()
	defer p.mu.Unlock()
	if claim != p.claim {
		return kms.ErrClaim
	}
	switch how {
	case succeeds:
	case failsBefore:
		return away(OpDestroy)
	default:
		ids = ids[:p.random.IntN(len(ids)+1)]
	}
	for _, id := range ids {
		delete(p.keys, id)
	}
	if how != succeeds {
		return away(OpDestroy)
	}
	return nil
}

func (p *provider) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	if p.begin(ctx, OpMAC) != succeeds {
		return nil, away(OpMAC)
	}
	sums := make([][]byte, len(inputs))
	for i, input := range inputs {
		sums[i] = mac(input)
	}
	return sums, nil
}

func mac(input []byte) []byte {
	h := hmac.New(sha256.New, []byte("index key"))
	_, _ = h.Write(input)
	return h.Sum(nil)
}
