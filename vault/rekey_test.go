package vault_test

import (
	"context"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/move"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// side is a store and the keys that its vault is on.
type side struct {
	place string
	store store.Store
	keys  *makings
}

// rehousing moves a vault from one side to another.
type rehousing struct {
	t        *testing.T
	home     string
	from, to side
	shop     vault.Call
	own      belongings
}

func newRehousing(t *testing.T) *rehousing {
	t.Helper()
	r := &rehousing{t: t, home: t.TempDir()}
	r.from, r.to = side{"here", memory.New(), r.provider("old")}, side{"there", memory.New(), r.provider("new")}
	v := r.serve(r.from)
	r.shop = v.As("shop", access.Administrator)
	r.own.furnish(t, v, r.shop)
	v.Stop()
	return r
}

func (r *rehousing) serve(on side) *vaulttest.Vault {
	r.t.Helper()
	return vaulttest.At(r.t, r.home, vaulttest.With(func(o *vault.Options) { o.Store, o.Place, o.Keys = on.store, on.place, on.keys }))
}

func (r *rehousing) move() *vault.Rekeying {
	return &vault.Rekeying{
		Tenant: "test", From: vault.Side{Store: r.from.store, Place: r.from.place}, To: vault.Side{Store: r.to.store, Place: r.to.place},
		Old: r.from.keys, New: r.to.keys, Origin: "sandyq", Clock: clock.System,
	}
}

// begin copies all, as far as it has not come further.
func (r *rehousing) begin(m *vault.Rekeying) (*move.Rows, error) {
	if err := m.Begin(ctx); err != nil {
		return nil, err
	}
	recast, err := m.Recast(ctx)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(recast.Close)
	rows := &move.Rows{
		From: r.from.store, To: r.to.store, Under: [][]byte{m.Prefix()}, Own: vault.StaysWithKeys, Kind: vault.KindOfRow, Recast: recast,
	}
	if _, err := rows.Copy(ctx); err != nil {
		return nil, err
	}
	return rows, nil
}

// try moves what is to be moved, up to the first failure.
func (r *rehousing) try() error {
	m := r.move()
	stage, err := m.Stage(ctx)
	switch {
	case err != nil:
		return err
	case stage == vault.StageTold:
		err = m.Take(ctx)
	case stage == vault.StageSource:
		err = r.carry(m)
	}
	if err != nil {
		return err
	}
	return m.Retire(ctx)
}

func (r *rehousing) carry(m *vault.Rekeying) error {
	rows, err := r.begin(m)
	if err != nil {
		return err
	}
	if err := m.Still(ctx); err != nil {
		return err
	}
	if _, err := rows.Verify(ctx); err != nil {
		return err
	}
	if err := rows.Equal(); err != nil {
		return err
	}
	return m.HandOver(ctx)
}

// searchable waits until the index was made anew.
func (r *rehousing) searchable(v *vaulttest.Vault) {
	r.t.Helper()
	eventually(r.t, "the index is made anew", func() bool {
		_, err := v.Search(ctx, r.shop, &api.SearchRequest{Purpose: "service", Reason: "test", Field: "iin", Value: api.Text(iinA)})
		return err == nil
	})
}

// TestRekeying moves a vault to other keys, and back to a third provider: whatever it is asked, it answers as before, and nothing
// of it opens under the keys that were left.
func TestRekeying(t *testing.T) {
	r := newRehousing(t)
	v := r.serve(r.from)
	before := r.own.answers(t, v, r.shop)
	v.Stop()
	delete(before, "log") // looking for the index's end is in it
	for _, next := range []string{"third", "fourth"} {
		if err := r.try(); err != nil {
			t.Fatal(err)
		}
		if keys := opens(t, r.from); keys != 0 {
			t.Errorf("%d of the old keys open", keys)
		}
		v := r.serve(r.to)
		r.searchable(v)
		after := r.own.answers(t, v, r.shop)
		delete(after, "log")
		if !maps.Equal(before, after) {
			for question, answer := range before {
				if after[question] != answer {
					t.Errorf("%s, %s: %s, before %s", next, question, after[question], answer)
				}
			}
		}
		again := register(t, v, r.shop, fields{"family_name": text("Оспанова")})
		e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: again.Subject, Ground: "request", Reason: "asked"}))
		erased(t, v, r.shop, e.Erasure)
		eventually(t, "the certificate is made", func() bool {
			_, err := v.Certificate(ctx, r.shop, e.Erasure)
			return err == nil
		})
		v.Stop()
		left := r.serve(r.from)
		_, err := left.Subject(ctx, r.shop, r.own.person.Subject)
		wantCode(t, err, fault.Unavailable)
		left.Stop()
		r.from, r.to = r.to, side{next, memory.New(), r.provider(next)}
	}
}

// makings is a provider that remembers which keys it was asked to make.
type makings struct {
	kms.Provider
	mu   sync.Mutex
	made []kms.ID
}

func (w *makings) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	w.mu.Lock()
	w.made = append(w.made, ids...)
	w.mu.Unlock()
	return w.Provider.Create(ctx, ids...)
}

func (r *rehousing) provider(name string) *makings {
	return &makings{Provider: ownKeys(r.t, filepath.Join(r.home, name))}
}

// opens counts the keys that were ever made at a side and open.
func opens(t *testing.T, of side) (n int) {
	t.Helper()
	for _, k := range must[[]kms.Key](t)(of.keys.Open(ctx, of.keys.made...)) {
		if !k.Missing() {
			n++
		}
	}
	return n
}

// TestErasuresWaitForAMoveOfKeys, unreadable, on both sides, and end when the old keys are destroyed: then neither key is there.
func TestErasuresWaitForAMoveOfKeys(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	if _, err := r.begin(m); err != nil {
		t.Fatal(err)
	}
	before := must[kms.Mark](t)(r.from.keys.Mark(ctx))
	v := r.serve(r.from)
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: r.own.person.Subject, Ground: "request", Reason: "asked"}))
	waits := func(v *vaulttest.Vault) {
		t.Helper()
		_, err := v.Subject(ctx, r.shop, r.own.person.Subject)
		wantCode(t, err, fault.Erased)
		for range 5 {
			time.Sleep(60 * time.Millisecond) // longer than it is until the next sweep
			if at := must[*api.Erasure](t)(v.Erasure(ctx, r.shop, e.Erasure)).State; at != api.ErasureErasing {
				t.Errorf("it is %s", at)
			}
		}
	}
	waits(v)
	v.Stop()
	if after := must[kms.Mark](t)(r.from.keys.Mark(ctx)); before != after {
		t.Errorf("the keys' mark went from %v to %v", before, after)
	}
	m = r.move()
	if err := r.carry(m); err != nil {
		t.Fatal(err)
	}
	v = r.serve(r.to)
	waits(v)
	if opens(t, r.from) == 0 {
		t.Error("the old keys are destroyed already")
	}
	if err := m.Retire(ctx); err != nil {
		t.Fatal(err)
	}
	erased(t, v, r.shop, e.Erasure)
	if n := opens(t, r.from); n != 0 {
		t.Errorf("%d old keys open", n)
	}
	c := must[*vault.IssuedCertificate](t)(v.Certificate(ctx, r.shop, e.Erasure))
	for _, gone := range c.Verified.Content.Destroyed.Slices {
		id := must[kms.ID](t)(kms.ParseID(gone.Key))
		for _, on := range []side{r.from, r.to} {
			if k := must[[]kms.Key](t)(on.keys.Open(ctx, id)); !k[0].Missing() {
				t.Errorf("the key of %s opens %s", gone.Slice, on.place)
			}
		}
	}
}
