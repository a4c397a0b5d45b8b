package vault_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
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
	"github.com/sandyq/sandyq/vault/store/storetest"
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
	r := &rehousing{t: t, home: inMemory(t)}
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
		Old: r.from.keys, New: r.to.keys, Origin: "sandyq", Clock: clock.System, Settle: time.Millisecond,
		Ledger: func(keys kms.Signer, rows store.Store) vault.OpenLedger {
			return vaulttest.Ledger(filepath.Join(r.home, "ledger"), "test", keys, rows)
		},
	}
}

// begin copies all, as far as it has not come further.
func (r *rehousing) begin(m *vault.Rekeying) (*move.Rows, error) {
	rows, err := r.prepare(m)
	if err != nil {
		return nil, err
	}
	if _, err := rows.Copy(ctx); err != nil {
		return nil, err
	}
	return rows, nil
}

func (r *rehousing) prepare(m *vault.Rekeying) (*move.Rows, error) {
	if err := m.Begin(ctx); err != nil {
		return nil, err
	}
	recast, err := m.Recast(ctx)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(recast.Close)
	return &move.Rows{
		From: r.from.store, To: r.to.store, Under: [][]byte{m.Prefix()}, Own: vault.StaysWithKeys, Kind: vault.KindOfRow, Recast: recast,
		Fence: m.Fence,
	}, nil
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
	return r.end(m, rows)
}

// end hands over what was copied.
func (r *rehousing) end(m *vault.Rekeying, rows *move.Rows) error {
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
	for n, next := range []string{"third", "fourth"} {
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
		for _, operation := range []string{"keys.move", "keys.retire"} {
			page := must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, r.shop, api.AuditQuery{Operation: operation, Limit: 5}))
			if len(page.Items) != 1+n {
				t.Errorf("%d entries of %s", len(page.Items), operation)
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

	loses atomic.Bool  // it has no key any more
	asked atomic.Int64 // how many keys were to be opened
}

func (w *makings) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	w.asked.Add(int64(len(ids)))
	if !w.loses.Load() {
		return w.Provider.Open(ctx, ids...)
	}
	absent := make([]kms.Key, len(ids))
	for i, id := range ids {
		absent[i].ID = id
	}
	return absent, nil
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

// hazards fail one step of a move: an Update of either store, or a call of either provider that changes something.
type hazards struct {
	armed atomic.Bool
	count atomic.Int64
	at    int64
	after bool // it is done all the same
}

func (h *hazards) strikes() bool { return h.armed.Load() && h.count.Add(1) == h.at }

func (h *hazards) store(s store.Store) store.Store {
	return storetest.NewFaulty(s, func(int) storetest.Fault {
		switch {
		case !h.strikes():
			return storetest.None
		case h.after:
			return storetest.FailAfter
		}
		return storetest.FailBefore
	})
}

// struckKeys is a provider that hazards strike.
type struckKeys struct {
	kms.Provider
	hazards *hazards
}

func (k *struckKeys) struck(do func() error) error {
	if !k.hazards.strikes() {
		return do()
	}
	if k.hazards.after {
		_ = do() // whatever it says, nobody hears it
	}
	return kms.ErrUnavailable
}

func (k *struckKeys) Create(ctx context.Context, ids ...kms.ID) (made []kms.Key, err error) {
	err = k.struck(func() (err error) { made, err = k.Provider.Create(ctx, ids...); return err })
	return made, err
}

func (k *struckKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	return k.struck(func() error { return k.Provider.Destroy(ctx, claim, ids...) })
}

func (k *struckKeys) Advance(ctx context.Context, from, next kms.Generation) error {
	return k.struck(func() error { return k.Provider.Advance(ctx, from, next) })
}

func (k *struckKeys) SetMark(ctx context.Context, from, next kms.Mark) error {
	return k.struck(func() error { return k.Provider.SetMark(ctx, from, next) })
}

// copied is the same vault as this one, with a life of its own, which hazards may strike.
func (r *rehousing) copied(h *hazards) *rehousing {
	r.t.Helper()
	c := &rehousing{t: r.t, home: inMemory(r.t), shop: r.shop, own: r.own}
	rows := memory.New()
	err := errors.Join(os.CopyFS(c.home, os.DirFS(r.home)), filepath.WalkDir(c.home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(path, 0o700)) // which the copy has forgotten
	}), rows.Update(ctx, func(w store.Writer) error {
		for _, one := range allRows(r.t, r.from.store) {
			if err := w.Set([]byte(one.key), []byte(one.value)); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil {
		r.t.Fatal(err)
	}
	c.from, c.to = side{"here", h.store(rows), c.provider("old")}, side{"there", h.store(memory.New()), c.provider("new")}
	c.from.keys.made = slices.Clone(r.from.keys.made)
	for _, of := range []side{c.from, c.to} {
		of.keys.Provider = &struckKeys{of.keys.Provider, h}
	}
	return c
}

// live reads from one side what was registered and erased.
func (r *rehousing) live(on side) {
	r.t.Helper()
	v := r.serve(on)
	defer v.Stop()
	token := r.own.person.Tokens["family_name"].Items[0]
	gone := r.own.gone.Tokens["family_name"].Items[0]
	answer := must[*api.DetokenizeResponse](r.t)(v.Detokenize(ctx, r.shop, &api.DetokenizeRequest{
		Purpose: "service", Reason: "test", Tokens: []string{token, gone},
	}))
	if e := answer.Results[0].Error; e != nil {
		r.t.Errorf("somebody is not read: %+v", e)
	}
	if e := answer.Results[1].Error; e == nil || e.Code != fault.Erased {
		r.t.Errorf("who was erased: %+v", e)
	}
	register(r.t, v, r.shop, fields{"given_name": text("Ерлан")})
}

// TestRekeyingFallsAnywhere fails every step in turn, before it is done or after, and with SANDYQ_TEST_SCALE both. Whichever side is the
// live one then reads all, the other gives nothing out, and the next try ends it.
func TestRekeyingFallsAnywhere(t *testing.T) {
	original := newRehousing(t)
	for pass := range int64(min(scaled(1), 2)) {
		for n := int64(1); ; n++ {
			h := &hazards{at: n, after: (n+pass)%2 == 0}
			r := original.copied(h)
			h.armed.Store(true)
			err := r.try()
			h.armed.Store(false)
			if err == nil && h.count.Load() < n {
				t.Logf("%d steps were failed", n-1)
				if n < 15 {
					t.Error("those are too few")
				}
				break
			}
			if err != nil && !errors.Is(err, storetest.ErrInjected) && !errors.Is(err, kms.ErrUnavailable) {
				t.Fatal(err)
			}
			switch stage := must[vault.Stage](t)(r.move().Stage(ctx)); stage {
			case vault.StageSource:
				r.live(r.from)
			case vault.StageTarget:
				r.live(r.to)
			case vault.StageTold:
			}
			if err := r.try(); err != nil {
				t.Fatalf("after step %d: %v", n, err)
			}
			r.live(r.to)
			if keys := opens(t, r.from); keys != 0 {
				t.Errorf("%d of the old keys open", keys)
			}
			if standing := must[vault.Standing](t)(vault.StandingOf(ctx, "test", r.from.store, "here", r.from.keys)); standing != vault.StandingSuperseded {
				t.Errorf("the source is %s", standing)
			}
			if t.Failed() {
				t.Fatalf("step %d, done: %v", n, h.after)
			}
		}
	}
}

// TestAMoveOfKeysThatIsAbandoned leaves nothing at the new provider, and has erasures at the source go on, not before; at whatever step it falls,
// it may be abandoned again.
func TestAMoveOfKeysThatIsAbandoned(t *testing.T) {
	original := newRehousing(t)
	for n := int64(1); ; n++ {
		h := &hazards{at: n, after: n%2 == 0}
		r := original.copied(h)
		if _, err := r.begin(r.move()); err != nil {
			t.Fatal(err)
		}
		if opens(t, r.to) == 0 {
			t.Fatal("no key was made")
		}
		v := r.serve(r.from)
		e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: r.own.person.Subject, Ground: "request", Reason: "asked"}))
		v.Stop()
		h.armed.Store(true)
		err := r.move().Abandon(ctx)
		h.armed.Store(false)
		if err != nil {
			away := &vault.Relocation{Tenant: "test", From: r.move().From, To: vault.Side{Store: memory.New(), Place: "yonder"}, Keys: r.from.keys}
			if opens(t, r.to) > 0 && !errors.Is(away.Begin(ctx), vault.ErrKeysMove) {
				t.Fatalf("at step %d the mark is gone, and new keys open", n)
			}
			if err := r.move().Abandon(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if keys := opens(t, r.to); keys != 0 {
			t.Errorf("%d of the new keys open", keys)
		}
		v = r.serve(r.from)
		erased(t, v, r.shop, e.Erasure)
		v.Stop()
		if h.count.Load() < n {
			break
		}
	}
}

// TestAMoveOfKeysLeavesOthersAlone: keys and stores of other vaults, stores that are not the one that was moved, and what has moved on.
func TestAMoveOfKeysLeavesOthersAlone(t *testing.T) {
	r, other := newRehousing(t), newRehousing(t)
	refused := func(want error, change func(*vault.Rekeying)) {
		t.Helper()
		m := r.move()
		change(m)
		if err := m.Begin(ctx); !errors.Is(err, want) {
			t.Errorf("it is begun: %v, want %v", err, want)
		}
	}
	refused(vault.ErrKeysUsed, func(m *vault.Rekeying) { m.New = other.from.keys })
	refused(vault.ErrKeysUsed, func(m *vault.Rekeying) { m.New = r.from.keys })
	refused(vault.ErrOccupied, func(m *vault.Rekeying) { m.To.Store = other.from.store })
	m := r.move()
	if err := m.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	refused(vault.ErrOtherMove, func(m *vault.Rekeying) { m.New = other.to.keys })
	refused(vault.ErrOtherMove, func(m *vault.Rekeying) { m.To.Place = "yonder" })
	relocation := &vault.Relocation{Tenant: "test", From: m.From, To: vault.Side{Store: memory.New(), Place: "yonder"}, Keys: r.from.keys}
	if err := relocation.Begin(ctx); !errors.Is(err, vault.ErrKeysMove) {
		t.Errorf("rows are moved away from under it: %v", err)
	}
	if err := m.HandOver(ctx); !errors.Is(err, vault.ErrMissingKeys) {
		t.Errorf("handed over before anything was copied: %v", err)
	}
	if err := r.carry(m); err != nil {
		t.Fatal(err)
	}
	m.From.Store = memory.New()
	if err := m.Retire(ctx); !errors.Is(err, vault.ErrNotSource) {
		t.Errorf("retired by another store: %v", err)
	}
	if opens(t, r.from) == 0 {
		t.Error("no old key is left")
	}
	left := r.serve(r.from)
	if err := left.Promote(ctx); err == nil {
		t.Error("the source was promoted beside the target")
	}
	left.Stop()
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
	if err := r.move().Abandon(ctx); err == nil {
		t.Error("abandoned after its end")
	}
	r.live(r.to)
}

// TestAMissingKeyStopsAMoveOfKeys: of somebody alive. Nothing is concluded from it, and when the key is back the move ends.
func TestAMissingKeyStopsAMoveOfKeys(t *testing.T) {
	r := newRehousing(t)
	r.from.keys.loses.Store(true)
	if err := r.try(); !errors.Is(err, vault.ErrMissingKeys) {
		t.Errorf("moved: %v", err)
	}
	if stage := must[vault.Stage](t)(r.move().Stage(ctx)); stage != vault.StageSource {
		t.Errorf("it has come to %v", stage)
	}
	r.from.keys.loses.Store(false)
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
}

// TestOnesWhoseKeysAreMissingAreErased first, if they are nowhere: then the keys of all others are moved.
func TestOnesWhoseKeysAreMissingAreErased(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	rows, err := r.begin(m)
	if err != nil {
		t.Fatal(err)
	}
	r.from.keys.loses.Store(true)
	if _, err := rows.Verify(ctx); !errors.Is(err, move.ErrDiffers) {
		t.Errorf("what cannot be opened any more is the same: %v", err)
	}
	v := r.serve(r.from)
	page := must[*api.Page[api.MissingKey]](t)(v.MissingKeys(ctx, r.shop, 100, ""))
	if len(page.Items) == 0 {
		t.Fatal("nobody's keys are missing")
	}
	var erasures []string
	for _, who := range page.Items {
		e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "lost"}))
		erasures = append(erasures, e.Erasure)
	}
	v.Stop()
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	v = r.serve(r.to)
	for _, e := range erasures {
		erased(t, v, r.shop, e)
	}
}
