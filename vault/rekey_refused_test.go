package vault_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// unnoted is a provider at which no mark is set.
type unnoted struct{ kms.Provider }

func (unnoted) SetMark(context.Context, kms.Mark, kms.Mark) error { return kms.ErrUnavailable }

// TestNoOldKeyIsDestroyedBeforeTheEnd: neither when all was copied, nor when the source is superseded and the target has no title yet.
func TestNoOldKeyIsDestroyedBeforeTheEnd(t *testing.T) {
	r := newRehousing(t)
	there := opens(t, r.from)
	refused := func(at vault.Stage) {
		t.Helper()
		if stage := must[vault.Stage](t)(r.move().Stage(ctx)); stage != at {
			t.Errorf("it has come to %v, not %v", stage, at)
		}
		if err := r.move().Retire(ctx); !errors.Is(err, vault.ErrNotLive) {
			t.Errorf("at %v: %v", at, err)
		}
		if n := opens(t, r.from); n != there {
			t.Errorf("at %v %d of %d old keys open", at, n, there)
		}
	}
	if _, err := r.begin(r.move()); err != nil {
		t.Fatal(err)
	}
	refused(vault.StageSource)
	m := r.move()
	m.New = unnoted{r.to.keys}
	if err := r.carry(m); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatal(err)
	}
	refused(vault.StageTold)
	if err := r.move().Abandon(ctx); err == nil {
		t.Error("given up after the last step")
	}
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
}

// TestOnlyTheMoveThatWasBegunIsGivenUp, and no key of another is destroyed.
func TestOnlyTheMoveThatWasBegunIsGivenUp(t *testing.T) {
	r := newRehousing(t)
	if _, err := r.begin(r.move()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*vault.Rekeying){
		"to other keys":       func(m *vault.Rekeying) { m.New = r.provider("others") },
		"to another store":    func(m *vault.Rekeying) { m.To.Place = "yonder" },
		"from other old keys": func(m *vault.Rekeying) { m.Old = r.provider("others than the old") },
	} {
		m := r.move()
		change(m)
		if err := m.Abandon(ctx); err == nil {
			t.Errorf("%s: it is given up", name)
		}
	}
	if opens(t, r.to) == 0 {
		t.Error("no new key is left")
	}
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
}

// TestASourceThatWasUsedIsNotHandedOver: it has more than was copied.
func TestASourceThatWasUsedIsNotHandedOver(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	rows, err := r.begin(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Still(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	r.live(r.from)
	if err := m.HandOver(ctx); !errors.Is(err, vault.ErrUsed) {
		t.Errorf("handed over: %v", err)
	}
	r.live(r.from)
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
}

// TestKeysThatAreOthersByNowAreNotHandedOverTo: what was copied does not open with them.
func TestKeysThatAreOthersByNowAreNotHandedOverTo(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	rows, err := r.begin(m)
	if err != nil {
		t.Fatal(err)
	}
	m.New = r.provider("others")
	if err := r.end(m, rows); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("handed over: %v", err)
	}
	r.live(r.from)
}

// emptied is another provider in the place of one: it answers, and has no key.
type emptied struct{ kms.Provider }

func (e emptied) Sentinel(context.Context) (kms.Sentinel, error) { return kms.Sentinel{1}, nil }

func (e emptied) Open(_ context.Context, ids ...kms.ID) ([]kms.Key, error) {
	absent := make([]kms.Key, len(ids))
	for i, id := range ids {
		absent[i].ID = id
	}
	return absent, nil
}

// TestAbsenceAtAnotherProviderIsNone: nothing is carried as if its key were destroyed.
func TestAbsenceAtAnotherProviderIsNone(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	m.Old = emptied{r.from.keys}
	if _, err := r.begin(m); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("it is copied: %v", err)
	}
}

// TestAStepIsToldAgainAsItWas, so whichever of the tellings comes first ends the move; and until it has come, or cannot come any more, no copy of the
// source is promoted.
func TestAStepIsToldAgainAsItWas(t *testing.T) {
	r := newRehousing(t)
	l := &tardy{Provider: r.from.keys.Provider}
	r.from.keys.Provider = l
	var tellings []func() error
	for range 2 {
		l.advances = true
		if err := r.carry(r.move()); !errors.Is(err, kms.ErrUnavailable) {
			t.Fatal(err)
		}
		tellings = append(tellings, l.then)
	}
	v := r.serve(side{"elsewhere", copied(t, r.from.store), r.from.keys})
	if err := v.Promote(ctx); err == nil {
		t.Error("a copy of the source is promoted while the step may come")
	}
	v.Stop()
	for _, comes := range tellings {
		if err := comes(); err != nil {
			t.Errorf("it was told another step: %v", err)
		}
		if err := r.try(); err != nil {
			t.Fatal(err)
		}
	}
	r.live(r.to)
}

// TestAStepThatNeverCameMakesNoTargetLive: the source went on, and another copy of it is the live vault by now.
func TestAStepThatNeverCameMakesNoTargetLive(t *testing.T) {
	r := newRehousing(t)
	l := &tardy{Provider: r.from.keys.Provider, advances: true}
	r.from.keys.Provider = l
	if err := r.carry(r.move()); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatal(err)
	}
	r.live(r.from)
	next := side{"elsewhere", copied(t, r.from.store), r.from.keys}
	v := r.serve(next)
	if err := v.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	v.Stop()
	if stage, err := r.move().Stage(ctx); !errors.Is(err, vault.ErrNotLive) {
		t.Errorf("it has come to %v: %v", stage, err)
	}
	r.live(next)
}

// TestTheKeysOfWhoIsNotListedYetAreDestroyedToo: the erasure ledger was away when the erasure began.
func TestTheKeysOfWhoIsNotListedYetAreDestroyedToo(t *testing.T) {
	r := newRehousing(t)
	v := vaulttest.At(t, r.home, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = r.from.store, r.from.place, r.from.keys
		open := vaulttest.Ledger(filepath.Join(r.home, "ledger"), "test", r.from.keys, r.from.store)
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			book, err := open(ctx, use)
			return unlisted{book}, err
		}
	}))
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: r.own.person.Subject, Ground: "request", Reason: "asked"}))
	v.Stop()
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	if n := opens(t, r.from); n != 0 {
		t.Errorf("%d old keys open", n)
	}
	v = r.serve(r.to)
	erased(t, v, r.shop, e.Erasure)
}

// unlisted is an erasure ledger to which nothing is appended.
type unlisted struct{ ledger.Ledger }

func (unlisted) Append(context.Context, ...ledger.Entry) (ledger.Head, error) {
	return ledger.Head{}, ledger.ErrUnavailable
}

// interrupted is a store of which somebody else makes use before the first Update.
type interrupted struct {
	store.Store
	by func()
}

func (i *interrupted) Update(ctx context.Context, f func(store.Writer) error) error {
	if by := i.by; by != nil {
		i.by = nil
		by()
	}
	return i.Store.Update(ctx, f)
}

// TestOfTwoThatBeginAtOnceOneMoves: the other leaves its marks as they are, and its keys.
func TestOfTwoThatBeginAtOnceOneMoves(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	m.From.Store = &interrupted{r.from.store, func() {
		if _, err := r.begin(r.move()); err != nil {
			t.Error(err)
		}
	}}
	if err := m.Begin(ctx); !errors.Is(err, vault.ErrOtherMove) {
		t.Errorf("both have begun: %v", err)
	}
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	r.live(r.to)
}

// TestASupersededSourceIsNotAbandoned, though it was restored from a moment of the move at which no last step was told yet.
func TestASupersededSourceIsNotAbandoned(t *testing.T) {
	r := newRehousing(t)
	l := &tardy{Provider: r.from.keys.Provider, advances: true}
	r.from.keys.Provider = l
	m := r.move()
	rows, err := r.begin(m)
	if err != nil {
		t.Fatal(err)
	}
	backup := copied(t, r.from.store) // while all is copied
	if err := r.end(m, rows); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatal(err)
	}
	if _, err := r.begin(r.move()); err != nil { // again, and cut off
		t.Fatal(err)
	}
	if err := l.then(); err != nil {
		t.Fatal(err)
	}
	r.from.store = backup
	if err := r.move().Abandon(ctx); err == nil {
		t.Error("given up")
	}
	if opens(t, r.to) == 0 {
		t.Error("no new key is left, and the source is superseded")
	}
}
