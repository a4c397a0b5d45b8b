package vault_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/move"
	"github.com/sandyq/sandyq/vault/store"
)

// values are the rows of a store by their keys, but for those that it has for itself.
func values(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, one := range allRows(t, s) {
		if !vault.StaysBehind([]byte(one.key)) {
			rows[one.key] = one.value
		}
	}
	return rows
}

// supplant has keys of the target lost, and others made in their place.
func (r *rehousing) supplant(made bool, ids ...kms.ID) {
	r.t.Helper()
	claim := kms.Claim{Sentinel: must[kms.Sentinel](r.t)(r.to.keys.Sentinel(ctx)), Generation: must[kms.Generation](r.t)(r.to.keys.Generation(ctx))}
	if err := r.to.keys.Destroy(ctx, claim, ids...); err != nil {
		r.t.Fatal(err)
	}
	if made {
		must[[]kms.Key](r.t)(r.to.keys.Create(ctx, ids...))
	}
}

// TestSupplantedKeysAreFoundBeforeTheSwitch, be it one that nothing was written under since the comparison. The source is live then, and the
// next try seals anew what does not open.
func TestSupplantedKeysAreFoundBeforeTheSwitch(t *testing.T) {
	original := newRehousing(t)
	for name, made := range map[string]bool{"lost": false, "others in their place": true} {
		r := original.copied(&hazards{})
		m := r.move()
		rows := must[*move.Rows](t)(r.begin(m))
		if err := m.Still(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Verify(ctx); err != nil {
			t.Fatal(err)
		}
		r.supplant(made, r.to.keys.made[len(r.to.keys.made)/2])
		before := must[kms.Generation](t)(r.from.keys.Generation(ctx))
		if err := errors.Join(rows.Equal(), m.HandOver(ctx)); !errors.Is(err, vault.ErrSupplanted) {
			t.Fatalf("%s: handed over: %v", name, err)
		}
		if after := must[kms.Generation](t)(r.from.keys.Generation(ctx)); after != before {
			t.Errorf("%s: the old keys went on", name)
		}
		r.live(r.from)
		if err := r.try(); err != nil {
			t.Fatalf("%s: the next try: %v", name, err)
		}
		r.live(r.to)
	}
}

// TestTheSwitchLooksAtNoKeyTwice: at what was looked at before it, it does not look again; at all else it does.
func TestTheSwitchLooksAtNoKeyTwice(t *testing.T) {
	original := newRehousing(t)
	for _, before := range []bool{false, true} {
		r := original.copied(&hazards{})
		m := r.move()
		rows := must[*move.Rows](t)(r.begin(m))
		if err := m.Still(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Verify(ctx); err != nil {
			t.Fatal(err)
		}
		if before {
			if err := rows.Recast.(*vault.Recast).Look(ctx); err != nil {
				t.Fatal(err)
			}
		}
		asked := r.to.keys.asked.Load()
		if err := m.HandOver(ctx); err != nil {
			t.Fatal(err)
		}
		if asked = r.to.keys.asked.Load() - asked; before != (asked == 0) {
			t.Errorf("looked at before: %t; in the switch %d keys are opened", before, asked)
		}
	}
}

// TestTheLaterOfTwoTriesGoesOn, or gives the move up; the earlier writes nothing more to either store, and asks for no key.
func TestTheLaterOfTwoTriesGoesOn(t *testing.T) {
	original := newRehousing(t)
	for _, abandoned := range []bool{false, true} {
		r := original.copied(&hazards{})
		earlier := r.move()
		rows := must[*move.Rows](t)(r.begin(earlier))
		if err := earlier.Still(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Verify(ctx); err != nil {
			t.Fatal(err)
		}
		later := r.move()
		var next *move.Rows
		if abandoned {
			if err := later.Abandon(ctx); err != nil {
				t.Fatal(err)
			}
		} else {
			next = must[*move.Rows](t)(r.prepare(later))
		}
		v := r.serve(r.from)
		register(t, v, r.shop, fields{"family_name": text("Оспанова")})
		v.Stop()
		before, made := values(t, r.to.store), len(r.to.keys.made)
		if _, err := rows.Copy(ctx); !errors.Is(err, vault.ErrOvertaken) {
			t.Errorf("abandoned, %v: copied: %v", abandoned, err)
		}
		if err := earlier.HandOver(ctx); !errors.Is(err, vault.ErrOvertaken) {
			t.Errorf("abandoned, %v: handed over: %v", abandoned, err)
		}
		if !maps.Equal(before, values(t, r.to.store)) || len(r.to.keys.made) != made {
			t.Errorf("abandoned, %v: the earlier one went on", abandoned)
		}
		if abandoned {
			r.live(r.from)
			v := r.serve(r.from)
			r.erases(v)
			v.Stop()
			continue
		}
		if _, err := next.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.end(later, next), later.Retire(ctx)); err != nil {
			t.Fatal(err)
		}
		r.live(r.to)
	}
}

// intruded is a provider at one call of which something else happens first.
type intruded struct {
	kms.Provider
	opens, signers func()
}

func (i *intruded) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	once(&i.opens)
	return i.Provider.Open(ctx, ids...)
}

func (i *intruded) PublicKeys(ctx context.Context) ([]ed25519.PublicKey, error) {
	once(&i.signers)
	return i.Provider.PublicKeys(ctx)
}

func once(f *func()) {
	if does := *f; does != nil {
		*f = nil
		does()
	}
}

// TestATryIsOvertakenInTheSwitch: before it tells the old provider anything, at whichever of its steps.
func TestATryIsOvertakenInTheSwitch(t *testing.T) {
	original := newRehousing(t)
	for name, arm := range map[string]func(*intruded, *intruded, func()){
		"when it looks whether the new keys are there": func(_, next *intruded, f func()) { next.opens = f },
		"when it notes which keys signed":              func(old, _ *intruded, f func()) { old.signers = f },
	} {
		r := original.copied(&hazards{})
		earlier, later := r.move(), r.move()
		old, next := &intruded{Provider: earlier.Old}, &intruded{Provider: earlier.New}
		earlier.Old, earlier.New = old, next
		rows := must[*move.Rows](t)(r.begin(earlier))
		if err := earlier.Still(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := rows.Verify(ctx); err != nil {
			t.Fatal(err)
		}
		var behind *move.Rows
		var target map[string]string
		var source []storedRow
		arm(old, next, func() {
			behind = must[*move.Rows](t)(r.prepare(later))
			target, source = values(t, r.to.store), allRows(t, r.from.store)
		})
		was := must[kms.Generation](t)(r.from.keys.Generation(ctx))
		if err := earlier.HandOver(ctx); !errors.Is(err, vault.ErrOvertaken) {
			t.Fatalf("%s: %v", name, err)
		}
		if now := must[kms.Generation](t)(r.from.keys.Generation(ctx)); now != was {
			t.Errorf("%s: the old keys went on", name)
		}
		if !maps.Equal(target, values(t, r.to.store)) {
			t.Errorf("%s: it wrote to the target", name)
		}
		if !slices.Equal(source, allRows(t, r.from.store)) {
			t.Errorf("%s: it wrote to the source", name)
		}
		if _, err := behind.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.end(later, behind); err != nil {
			t.Fatalf("%s: the later one: %v", name, err)
		}
		r.live(r.to)
	}
}

// preempted is a store before whose next Update something else happens.
type preempted struct {
	store.Store
	before func()
}

func (p *preempted) Update(ctx context.Context, f func(store.Writer) error) error {
	once(&p.before)
	return p.Store.Update(ctx, f)
}

// TestWhatWasToldStaysInTheMarks, as it may come late: told while another try begins, or known to the target only.
func TestWhatWasToldStaysInTheMarks(t *testing.T) {
	original := newRehousing(t)
	for name, restored := range map[string]bool{"told meanwhile": false, "the source was restored": true} {
		r := original.copied(&hazards{})
		late := &tardy{Provider: r.from.keys.Provider, advances: true}
		r.from.keys.Provider = late
		earlier := r.move()
		rows := must[*move.Rows](t)(r.begin(earlier))
		tell := func() {
			if err := r.end(earlier, rows); !errors.Is(err, kms.ErrUnavailable) {
				t.Fatalf("%s: told: %v", name, err)
			}
		}
		later := r.move()
		if restored {
			before := copied(t, r.from.store)
			tell()
			r.from.store = before
			later = r.move()
		} else {
			later.From.Store = &preempted{later.From.Store, tell}
		}
		next := must[*move.Rows](t)(r.prepare(later))
		if _, err := next.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if err := late.then(); err != nil {
			t.Fatal(err)
		}
		if err := r.try(); err != nil {
			t.Fatalf("%s: the step came: %v", name, err)
		}
		r.live(r.to)
	}
}

// TestEarlierTriesAreWaitedForSinceThisOneBegan, and not since it looked first, when they may have been at work yet.
func TestEarlierTriesAreWaitedForSinceThisOneBegan(t *testing.T) {
	r := newRehousing(t)
	must[*move.Rows](t)(r.begin(r.move())) // and cut off
	now := time.Now()
	m := r.move()
	m.Settle, m.Clock = time.Minute, func() time.Time { return now }
	must[vault.Stage](t)(m.Stage(ctx))
	now = now.Add(time.Hour) // while others were at the source
	if err := r.carry(m); err != nil {
		t.Fatal(err)
	}
	if wait := must[time.Duration](t)(m.Settles(ctx)); wait != time.Minute {
		t.Errorf("it waits for %v", wait)
	}
}

// TestATryHasOneSealingAnew: a second one has not seen whose keys are missing, or which keys there are.
func TestATryHasOneSealingAnew(t *testing.T) {
	r := newRehousing(t)
	m := r.move()
	rows := must[*move.Rows](t)(r.prepare(m))
	r.from.keys.loses.Store(true)
	if _, err := rows.Copy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Recast(ctx); err == nil {
		t.Error("there is a second one")
	}
	if err := r.end(m, rows); !errors.Is(err, vault.ErrMissingKeys) {
		t.Errorf("handed over: %v", err)
	}
}

// TestKeysOfWhoWasErasedMeanwhileDoNotStopTheMove: they wait at the new provider, as all do.
func TestKeysOfWhoWasErasedMeanwhileDoNotStopTheMove(t *testing.T) {
	r := newRehousing(t)
	journal, watched := move.Watch(r.from.store)
	m := r.move()
	rows := must[*move.Rows](t)(r.prepare(m))
	rows.Journal = journal
	if _, err := rows.Copy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	v := r.serve(side{r.from.place, watched, r.from.keys})
	who := register(t, v, r.shop, fields{"family_name": text("Оспанова")})
	for _, subject := range []string{who.Subject, r.own.person.Subject} {
		must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: subject, Ground: "request", Reason: "asked"}))
	}
	v.Stop()
	if err := m.Still(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := rows.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rows.Equal(), m.HandOver(ctx), m.Retire(ctx)); err != nil {
		t.Fatal(err)
	}
	if n := opens(t, r.from); n != 0 {
		t.Errorf("%d old keys open", n)
	}
}
