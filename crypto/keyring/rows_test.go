package keyring

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// rows is the store: the pool's rows and the people that consumed some.
type rows struct {
	mu     sync.Mutex
	random *rand.Rand
	faults float64 // the chance that an Update fails, half of them after it committed
	lossy  bool    // every Update commits, and its answer is lost
	rows   map[kms.ID]row
	people map[kms.ID]bool

	snapshot func() time.Time // nil: people may have keys that no snapshot contains
	unsaved  int              // people who have
}

// row is one row of the pool.
type row struct {
	process int
	flipped bool
	made    time.Time // zero: not dated
}

func newRows(seed uint64) *rows {
	return &rows{random: rand.New(rand.NewPCG(seed, 2)), rows: map[kms.ID]row{}, people: map[kms.ID]bool{}}
}

// fail sets the chance that an Update fails.
func (r *rows) fail(chance float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = chance
}

// lose sets whether the answers of Updates are lost.
func (r *rows) lose(lossy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lossy = lossy
}

// update runs f like the store does: it may fail before it has any effect, and after.
func (r *rows) update(ctx context.Context, f func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || r.random.Float64() < r.faults/2 {
		return fmt.Errorf("update: injected failure")
	}
	f()
	if r.lossy || r.random.Float64() < r.faults/2 {
		return fmt.Errorf("update: injected failure after the commit")
	}
	return nil
}

// consume is the Update of a registration.
func (r *rows) consume(ctx context.Context, id kms.ID) error {
	var refused error
	err := r.update(ctx, func() {
		if row, ok := r.rows[id]; !ok || row.flipped {
			refused = fmt.Errorf("row of %s is gone", id)
			return
		}
		if row := r.rows[id]; r.snapshot != nil && (row.made.IsZero() || row.made.After(r.snapshot())) {
			r.unsaved++
		}
		delete(r.rows, id)
		r.people[id] = true
	})
	if err == nil {
		err = refused
	}
	return err
}

// process is the Pool as one process sees it.
type process struct {
	*rows
	number int
}

func (p process) Reserve(ctx context.Context, ids ...kms.ID) error {
	return p.update(ctx, func() {
		for _, id := range ids {
			p.rows.rows[id] = row{process: p.number}
		}
	})
}

func (p process) Spoil(ctx context.Context, ids ...kms.ID) error {
	return p.update(ctx, func() {
		for _, id := range ids {
			if row, ok := p.rows.rows[id]; ok {
				row.flipped = true
				p.rows.rows[id] = row
			}
		}
	})
}

func (p process) Reclaim(ctx context.Context) (ids []kms.ID, err error) {
	err = p.update(ctx, func() {
		for id, row := range p.rows.rows {
			if row.process != p.number && row.made.IsZero() {
				row.flipped = true
				p.rows.rows[id] = row
			}
			if row.flipped {
				ids = append(ids, id)
			}
		}
	})
	return ids, err
}

func (p process) Forget(ctx context.Context, ids ...kms.ID) error {
	return p.update(ctx, func() {
		for _, id := range ids {
			if p.rows.rows[id].flipped {
				delete(p.rows.rows, id)
			}
		}
	})
}

func (p process) Date(ctx context.Context, made time.Time, ids ...kms.ID) error {
	return p.update(ctx, func() {
		for _, id := range ids {
			row := p.rows.rows[id]
			row.made = made
			p.rows.rows[id] = row
		}
	})
}

func (p process) Adopt(ctx context.Context, most int) (found []Dated, err error) {
	err = p.update(ctx, func() {
		for id, row := range p.rows.rows {
			if row.process != p.number && !row.flipped && !row.made.IsZero() && len(found) < most {
				row.process = p.number
				p.rows.rows[id] = row
				found = append(found, Dated{id, row.made})
			}
		}
	})
	return found, err
}

// orphans are the keys at the provider that neither a row nor a person names.
func orphans(p *provider, r *rows) (ids []kms.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range p.keys {
		if _, named := r.rows[id]; !named && !r.people[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *rows) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rows)
}
