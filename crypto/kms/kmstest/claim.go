package kmstest

import (
	"errors"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
)

func destroy(t *testing.T, o Opener) {
	p := open(t, o)
	id := ids(2)
	made := create(t, p, id...)
	if err := p.Destroy(bounded(t), Claim(t, p), id[0]); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	wantMissing(t, p, id[0])
	wantSame(t, openKeys(t, p, id[1])[0], made[1])
}

func destroyAgain(t *testing.T, o Opener) {
	p := open(t, o)
	claim := Claim(t, p)
	id := kms.NewID()
	create(t, p, id)
	for range 3 {
		if err := p.Destroy(bounded(t), claim, id, id); err != nil {
			t.Fatalf("destroy: %v", err)
		}
	}
	if err := p.Destroy(bounded(t), claim, kms.NewID()); err != nil {
		t.Fatalf("destroy of an id that never was: %v", err)
	}
}

func destroyMany(t *testing.T, o Opener) {
	p := open(t, o)
	claim := Claim(t, p)
	id := ids(60)
	create(t, p, id[:50]...)
	_, errs := race(4, func() (struct{}, error) { return struct{}{}, p.Destroy(bounded(t), claim, id...) })
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("destroy the same keys four times at once: %v", err)
	}
	wantMissing(t, p, id...)
}

// refused checks that a claim destroys nothing.
func refused(t *testing.T, p kms.Provider, claim kms.Claim) {
	t.Helper()
	id, absent := kms.NewID(), kms.NewID()
	made := create(t, p, id)
	for _, victims := range [][]kms.ID{{id}, {absent}, {id, absent}, {}} {
		if err := p.Destroy(bounded(t), claim, victims...); !errors.Is(err, kms.ErrClaim) {
			t.Errorf("destroy under a wrong claim: %v, want ErrClaim", err)
		}
	}
	wantSame(t, openKeys(t, p, id)[0], made[0])
}

func claimGeneration(t *testing.T, o Opener) {
	p := open(t, o)
	claim := Claim(t, p)
	for _, wrong := range []kms.Claim{
		{},
		{Sentinel: claim.Sentinel},
		{Generation: claim.Generation},
		{Sentinel: kms.Sentinel{1}, Generation: claim.Generation},
		{Sentinel: claim.Sentinel, Generation: after(claim.Generation)},
		{Sentinel: claim.Sentinel, Generation: kms.Generation{Number: 1, Instance: kms.NewID()}},
	} {
		refused(t, p, wrong)
	}
}

func claimZero(t *testing.T, o Opener) {
	p := open(t, o)
	sentinel, err := p.Sentinel(bounded(t))
	if err != nil {
		t.Fatalf("sentinel: %v", err)
	}
	refused(t, p, kms.Claim{Sentinel: sentinel})
}

func claimSuperseded(t *testing.T, o Opener) {
	p, other := open(t, o), open(t, o)
	old := Claim(t, p)
	Claim(t, other) // another store became the live one
	refused(t, p, old)
}

// claimFresh puts a new, empty provider where the old one was: every key is absent there, and none counts as destroyed.
func claimFresh(t *testing.T, old, fresh Opener) {
	before, now := open(t, old), open(t, fresh)
	id := kms.NewID()
	create(t, before, id)
	claim := Claim(t, before)
	if err := now.Destroy(bounded(t), claim, id); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroy on a fresh provider: %v, want ErrClaim", err)
	}
	Claim(t, now) // even when it has come to the same number
	if err := now.Destroy(bounded(t), claim, id); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroy on a fresh provider of the same number: %v, want ErrClaim", err)
	}
}

func generation(t *testing.T, o Opener) {
	p := open(t, o)
	zero, err := p.Generation(bounded(t))
	if err != nil || zero != (kms.Generation{}) {
		t.Fatalf("generation of a fresh provider is %s (%v), want zero", zero, err)
	}
	one := after(zero)
	two := after(one)
	for _, step := range []struct {
		name       string
		from, next kms.Generation
		refused    bool
	}{
		{"skip", one, two, true},
		{"first", zero, one, false},
		{"first again", zero, one, false},
		{"another first", zero, after(zero), true},
		{"stay", one, one, true},
		{"no instance", one, kms.Generation{Number: 2}, true},
		{"jump", one, kms.Generation{Number: 3, Instance: kms.NewID()}, true},
		{"from another instance", after(zero), two, true},
		{"second", one, two, false},
		{"second again", one, two, false},
		{"first once more", zero, one, true},
		{"back", two, one, true},
	} {
		before, _ := p.Generation(bounded(t))
		err := p.Advance(bounded(t), step.from, step.next)
		now, readErr := p.Generation(bounded(t))
		if readErr != nil {
			t.Fatalf("%s: generation: %v", step.name, readErr)
		}
		switch {
		case step.refused && !errors.Is(err, kms.ErrClaim):
			t.Errorf("%s: %v, want ErrClaim", step.name, err)
		case step.refused && now != before:
			t.Errorf("%s: refused, and yet went from %s to %s", step.name, before, now)
		case !step.refused && (err != nil || now != step.next):
			t.Errorf("%s: generation %s, want %s (%v)", step.name, now, step.next, err)
		}
	}
}

func generationRace(t *testing.T, o Opener) {
	a, b := open(t, o), open(t, o)
	from := Claim(t, a).Generation
	for range 5 {
		nexts := make(chan kms.Generation, 8)
		providers := make(chan kms.Provider, 8)
		for i := range 8 {
			nexts <- after(from)
			providers <- []kms.Provider{a, b}[i%2]
		}
		won, errs := race(8, func() (kms.Generation, error) {
			next := <-nexts
			return next, (<-providers).Advance(bounded(t), from, next)
		})
		winner := won[onlyWinner(t, errs, kms.ErrClaim)]
		for _, p := range []kms.Provider{a, b} {
			if now, err := p.Generation(bounded(t)); err != nil || now != winner {
				t.Fatalf("generation %s, want the winner's %s (%v)", now, winner, err)
			}
		}
		from = winner
	}
}
