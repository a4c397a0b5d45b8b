package vault_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/store"
)

// spoiled is a store that hides from one node what the node looks at, or drops what it writes.
type spoiled struct {
	store.Store
	view   func(ctx context.Context, key, value []byte) []byte // what is read outside Updates
	update func(ctx context.Context, key, value []byte) []byte // what is read inside them
	drop   func(ctx context.Context, key []byte) bool          // what is not written
}

func (s *spoiled) View(ctx context.Context, f func(store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return f(spoiledReader{r, ctx, s.view}) })
}

func (s *spoiled) Update(ctx context.Context, f func(store.Writer) error) error {
	return s.Store.Update(ctx, func(w store.Writer) error {
		return f(spoiledWriter{w, spoiledReader{w, ctx, s.update}, s.drop})
	})
}

type spoiledReader struct {
	store.Reader
	ctx  context.Context
	show func(ctx context.Context, key, value []byte) []byte
}

func (r spoiledReader) Get(keys ...[]byte) ([][]byte, error) {
	values, err := r.Reader.Get(keys...)
	for i := range values {
		if r.show != nil {
			values[i] = r.show(r.ctx, keys[i], values[i])
		}
	}
	return values, err
}

func (r spoiledReader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	pairs, err := r.Reader.Scan(prefix, after, limit)
	for i := range pairs {
		if r.show != nil {
			pairs[i].Value = r.show(r.ctx, pairs[i].Key, pairs[i].Value)
		}
	}
	return pairs, err
}

type spoiledWriter struct {
	store.Writer
	spoiledReader
	drop func(ctx context.Context, key []byte) bool
}

func (w spoiledWriter) Get(keys ...[]byte) ([][]byte, error) { return w.spoiledReader.Get(keys...) }
func (w spoiledWriter) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	return w.spoiledReader.Scan(prefix, after, limit)
}

func (w spoiledWriter) Set(key, value []byte) error {
	if w.drop != nil && w.drop(w.ctx, key) {
		return nil
	}
	return w.Writer.Set(key, value)
}

// isGeneration reports whether a key is of the row that counts the generations of the rules.
func isGeneration(key []byte) bool {
	return kindOf(key) == 'm' && bytes.HasSuffix(key, []byte("mrules\x00"))
}

// asRead spoils a node so that the Updates find the generation that it has read last.
func asRead() *spoiled {
	var mu sync.Mutex
	var last []byte
	return &spoiled{
		view: func(_ context.Context, key, value []byte) []byte {
			if isGeneration(key) {
				mu.Lock()
				defer mu.Unlock()
				last = bytes.Clone(value)
			}
			return value
		},
		update: func(_ context.Context, key, value []byte) []byte {
			if isGeneration(key) {
				mu.Lock()
				defer mu.Unlock()
				return bytes.Clone(last)
			}
			return value
		},
	}
}

// unread spoils a node so that it does not see a member of what is configured.
func unread(member string) *spoiled {
	quoted := []byte(`"` + member + `"`)
	hidden := bytes.Clone(quoted)
	hidden[1] = 'x'
	return &spoiled{view: func(_ context.Context, key, value []byte) []byte {
		if kindOf(key) != 'g' {
			return value
		}
		return bytes.ReplaceAll(value, quoted, hidden)
	}}
}

// rebased spoils a node so that readings see other bases: change gets a person's row and where in it one basis begins.
func rebased(change func(row []byte, at int) []byte) *spoiled {
	const basesAt = 10
	return &spoiled{view: func(ctx context.Context, key, value []byte) []byte {
		if kindOf(key) != 's' || store.UrgencyOf(ctx) != store.Reading || len(value) <= basesAt {
			return value
		}
		row, at := bytes.Clone(value), basesAt+1
		for range int(row[basesAt]) {
			row = change(row, at)
			at += 27 + int(row[at+26])
		}
		return row
	}}
}

// dropped spoils a node so that rows of a kind are not written when something is read.
func dropped(kind byte) *spoiled {
	return &spoiled{drop: func(ctx context.Context, key []byte) bool {
		return kindOf(key) == kind && store.UrgencyOf(ctx) == store.Reading
	}}
}

// TestTheModelFindsMutants holds the tester to account: a vault of which one node is broken from below is found out, by
// several seeds.
func TestTheModelFindsMutants(t *testing.T) {
	withdrawnFlag := func(row []byte, at int) []byte { row[at] = 0; return row }
	endless := func(row []byte, at int) []byte { binary.BigEndian.PutUint64(row[at+1:], 0); return row }
	mutants := map[string]func() *spoiled{
		"a node's rules always hold":           asRead,
		"a withdrawal does not show":           func() *spoiled { return rebased(withdrawnFlag) },
		"a consent has no term":                func() *spoiled { return rebased(endless) },
		"no consents show":                     func() *spoiled { return rebased(func(row []byte, at int) []byte { row[at+27] ^= 1; return row }) },
		"transfers are not written":            func() *spoiled { return dropped('z') },
		"the log is not written":               func() *spoiled { return dropped('a') },
		"blocks do not show":                   unblocked,
		"purposes retire in vain":              func() *spoiled { return unread("retired") },
		"incompatible purposes are compatible": func() *spoiled { return unread("incompatible_with") },
		"obligations are none":                 func() *spoiled { return unread("obligation") },
		"an own consent may be shared":         func() *spoiled { return unread("own_consent") },
		"a purpose discloses to anybody":       func() *spoiled { return unread("recipients") },
		"assessments do not run out":           func() *spoiled { return unread("valid_until") },
	}
	for name, spoil := range mutants {
		t.Run(name, func(t *testing.T) {
			wantFound(t, func(node int, o *vault.Options) {
				if node == 1 {
					s := spoil()
					s.Store, o.Store = o.Store, s
				}
			})
		})
	}
	t.Run("a node's clock stands still", func(t *testing.T) {
		wantFound(t, func(node int, o *vault.Options) {
			if node == 1 {
				o.Clock = func() time.Time { return basisBegin }
			}
		})
	})
	t.Run("a node observes where the other enforces", func(t *testing.T) {
		wantFound(t, func(node int, o *vault.Options) {
			if node == 1 {
				o.Consents = vault.ConsentsObserved
			}
		})
	})
}

// unblocked spoils a node so that readings see nobody blocked, and permit in spite of it.
func unblocked() *spoiled {
	show := func(ctx context.Context, key, value []byte) []byte {
		if kindOf(key) == 's' && store.UrgencyOf(ctx) == store.Reading && len(value) > 9 {
			value = bytes.Clone(value)
			value[9] = 0
		}
		return value
	}
	return &spoiled{view: show, update: show}
}

// wantFound demands that a mutant is found, and says how soon.
func wantFound(t *testing.T, mutate func(node int, o *vault.Options)) {
	t.Helper()
	const most = 200
	for seed := range most {
		if wrong := hunt(t, uint64(seed), 100, map[string]int{}, mutate); wrong != "" {
			t.Logf("found by world %d: %.160s", seed+1, wrong)
			return
		}
	}
	t.Errorf("not found in %d worlds", most)
}
