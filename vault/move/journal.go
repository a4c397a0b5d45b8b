package move

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sandyq/sandyq/vault/store"
)

// Journal is a store that notes the keys that are written to it. It keeps them in memory, each once, until a round takes them. It is
// safe for concurrent use.
type Journal struct {
	store.Store
	running sync.RWMutex // held by every Update; whoever takes the keys holds it alone

	mu      sync.Mutex // guards written
	written map[string]struct{}
}

// Watch returns a journal over s, and what is to be used in place of s from then on: it measures residue if s does.
func Watch(s store.Store) (*Journal, store.Store) {
	j := &Journal{Store: s, written: map[string]struct{}{}}
	if r, ok := s.(store.Residual); ok {
		return j, struct {
			*Journal
			store.Residual
		}{j, r}
	}
	return j, j
}

// Update is the store's. What it may have written is noted when it returns.
func (j *Journal) Update(ctx context.Context, f func(store.Writer) error) error {
	j.running.RLock()
	defer j.running.RUnlock()
	noting := noting{}
	defer func() { j.note(noting.keys) }() // also after a failure: it may have been written
	return j.Store.Update(ctx, func(w store.Writer) error {
		noting.Writer = w
		return f(&noting)
	})
}

// noting is a Writer that notes what is written, in every run of the function.
type noting struct {
	store.Writer
	keys []string
}

func (n *noting) Set(key, value []byte) error {
	n.keys = append(n.keys, string(key))
	return n.Writer.Set(key, value)
}

func (n *noting) Delete(key []byte) error {
	n.keys = append(n.keys, string(key))
	return n.Writer.Delete(key)
}

func (j *Journal) note(keys []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, k := range keys {
		j.written[k] = struct{}{}
	}
}

// Pending is how many keys were written and not taken yet.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.written)
}

// take gives the noted keys in their order, and forgets them.
func (j *Journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	keys := make([]string, 0, len(j.written))
	for k := range j.written {
		keys = append(keys, k)
	}
	clear(j.written)
	slices.SortFunc(keys, strings.Compare)
	return keys
}

// view runs f on a state of the store, with the keys that were written before it and not taken. Between the two no Update runs. After an
// error the keys are noted again.
func (j *Journal) view(ctx context.Context, f func(r store.Reader, written []string) error) error {
	j.running.Lock()
	resume := sync.OnceFunc(j.running.Unlock)
	defer resume()
	var written []string
	err := j.Store.View(ctx, func(r store.Reader) error {
		if _, err := r.Get(nil); err != nil { // an engine may fix the state with the first reading
			return err
		}
		written = j.take()
		resume()
		return f(r, written)
	})
	if err != nil {
		j.note(written)
	}
	return err
}
