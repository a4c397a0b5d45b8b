package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/store"
)

// player chooses what is done next, and is told what went wrong: rapid, which shortens what went wrong, or a seed.
type player interface {
	choose(what string, n int) int // one of n
	Fatalf(format string, args ...any)
}

// rapidPlayer is rapid.
type rapidPlayer struct{ *rapid.T }

// choose draws from more than there are, since rapid prefers small numbers.
func (p rapidPlayer) choose(what string, n int) int {
	return int(rapid.Uint64Range(0, 1<<32).Draw(p.T, what) % uint64(n))
}

// seededPlayer is a seed. What goes wrong ends the play, see hunt.
type seededPlayer struct{ *rand.Rand }

func (p seededPlayer) choose(_ string, n int) int { return p.IntN(n) }

// wentWrong is what a seededPlayer was told.
type wentWrong string

func (seededPlayer) Fatalf(format string, args ...any) {
	panic(wentWrong(fmt.Sprintf(format, args...)))
}

// stillClock stands until it is moved, so that what ends does so at a moment that the model knows.
type stillClock struct{ at atomic.Int64 }

func (c *stillClock) now() time.Time { return time.UnixMilli(c.at.Load()).UTC() }

func (c *stillClock) advance(d time.Duration) { c.at.Add(d.Milliseconds()) }

// witness is a store that remembers what was written down in it: the entries of the log, and the transfers.
type witness struct {
	store.Store
	mu        sync.Mutex
	entries   map[string][]audit.Entry  // by request
	transfers map[string][]seenTransfer // by request
}

// seenTransfer is what a transfer's row says, see docs/formats.md.
type seenTransfer struct {
	Recipient string   `cbor:"3,keyasint"`
	Purpose   string   `cbor:"5,keyasint"`
	Basis     string   `cbor:"6,keyasint"`
	Consent   string   `cbor:"7,keyasint"`
	Fields    []string `cbor:"8,keyasint"`
	RequestID string   `cbor:"13,keyasint"`
}

func newWitness(s store.Store) *witness {
	return &witness{Store: s, entries: map[string][]audit.Entry{}, transfers: map[string][]seenTransfer{}}
}

func (l *witness) Update(ctx context.Context, f func(store.Writer) error) error {
	var written []store.Pair
	err := l.Store.Update(ctx, func(w store.Writer) error {
		written = written[:0] // f may run again
		return f(witnessWriter{w, &written})
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range written {
		var e audit.Entry
		var t seenTransfer
		switch kindOf(p.Key) {
		case 'a':
			if err := json.Unmarshal(p.Value, &e); err != nil {
				return err
			}
			l.entries[e.RequestID] = append(l.entries[e.RequestID], e)
		case 'z':
			if err := cbor.Unmarshal(p.Value, &t); err != nil {
				return err
			}
			l.transfers[t.RequestID] = append(l.transfers[t.RequestID], t)
		}
	}
	return nil
}

// of is what was written down for a request.
func (l *witness) of(request string) ([]audit.Entry, []seenTransfer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[request], l.transfers[request]
}

type witnessWriter struct {
	store.Writer
	written *[]store.Pair
}

func (w witnessWriter) Set(key, value []byte) error {
	*w.written = append(*w.written, store.Pair{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return w.Writer.Set(key, value)
}

// nodeStore is the store as one of several nodes has it. One process has a store open at a time: a node takes keys that
// another made ahead for left by an earlier process, and the other for one that has superseded it. So each node finds its own
// keys only, and has a title of its own to them.
type nodeStore struct {
	store.Store
	title []byte   // what tells the node's title from the first node's
	mine  sync.Map // the pool's rows that the node wrote
}

// own makes the keys of rows those that this node means.
func (n *nodeStore) own(keys [][]byte) [][]byte {
	owned := slices.Clone(keys)
	for i, k := range keys {
		if n.title != nil && kindOf(k) == 'm' && bytes.HasSuffix(k, []byte("mtitle\x00")) {
			owned[i] = slices.Concat(k, n.title)
		}
	}
	return owned
}

// nodeKeys are the keys as another node than the first has them: it is live by a generation of its own.
type nodeKeys struct {
	kms.Provider
	mu      sync.Mutex
	current kms.Generation
}

func (k *nodeKeys) Generation(context.Context) (kms.Generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, nil
}

func (k *nodeKeys) Advance(_ context.Context, _, next kms.Generation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = next
	return nil
}

func (k *nodeKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	var err error
	if claim.Generation, err = k.Provider.Generation(ctx); err != nil {
		return err
	}
	return k.Provider.Destroy(ctx, claim, ids...)
}

func (n *nodeStore) View(ctx context.Context, f func(store.Reader) error) error {
	return n.Store.View(ctx, func(r store.Reader) error { return f(nodeReader{r, n}) })
}

func (n *nodeStore) Update(ctx context.Context, f func(store.Writer) error) error {
	return n.Store.Update(ctx, func(w store.Writer) error { return f(nodeWriter{w, n}) })
}

type nodeReader struct {
	store.Reader
	*nodeStore
}

func (r nodeReader) Get(keys ...[]byte) ([][]byte, error) { return r.Reader.Get(r.own(keys)...) }

func (r nodeReader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	pairs, err := r.Reader.Scan(prefix, after, limit)
	if len(prefix) > 0 && kindOf(prefix) == 'q' {
		pairs = slices.DeleteFunc(pairs, func(p store.Pair) bool { _, mine := r.mine.Load(string(p.Key)); return !mine })
	}
	return pairs, err
}

type nodeWriter struct {
	store.Writer
	*nodeStore
}

func (w nodeWriter) Get(keys ...[]byte) ([][]byte, error) { return w.Writer.Get(w.own(keys)...) }

func (w nodeWriter) Set(key, value []byte) error {
	if kindOf(key) == 'q' {
		w.mine.Store(string(key), true)
	}
	return w.Writer.Set(w.own([][]byte{key})[0], value)
}
