package kmstest

import (
	"errors"
	"math"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
)

func wantMark(t *testing.T, p kms.Provider, want kms.Mark) {
	t.Helper()
	if now, err := p.Mark(bounded(t)); err != nil || now != want {
		t.Fatalf("mark %s, want %s (%v)", now, want, err)
	}
}

func mark(t *testing.T, o Opener) {
	p := open(t, o)
	var (
		zero  kms.Mark
		one   = kms.Mark{Entries: 1, Head: [32]byte{1}}
		other = kms.Mark{Entries: 1, Head: [32]byte{31: 1}}
		last  = kms.Mark{Entries: math.MaxUint64, Head: [32]byte{0xff}}
	)
	wantMark(t, p, zero)
	now := zero
	for _, step := range []struct {
		name       string
		from, next kms.Mark
		refused    bool
	}{
		{"nothing yet", zero, zero, false},
		{"from what was not", one, last, true},
		{"first", zero, one, false},
		{"first again", zero, one, false},
		{"another first", zero, other, true},
		{"from another head", other, last, true},
		{"from nowhere, to what is there", last, one, false},
		{"far", one, last, false},
		{"far again", one, last, false},
		{"from the first once more", one, other, true},
	} {
		err := p.SetMark(bounded(t), step.from, step.next)
		switch {
		case step.refused && !errors.Is(err, kms.ErrClaim):
			t.Errorf("%s: %v, want ErrClaim", step.name, err)
		case !step.refused && err != nil:
			t.Errorf("%s: %v", step.name, err)
		case !step.refused:
			now = step.next
		}
		wantMark(t, p, now)
	}
}

func markRace(t *testing.T, o Opener) {
	a, b := open(t, o), open(t, o)
	var from kms.Mark
	for round := range 5 {
		nexts := make(chan kms.Mark, 8)
		providers := make(chan kms.Provider, 8)
		for i := range 8 {
			nexts <- kms.Mark{Entries: uint64(round) + 1, Head: [32]byte{byte(i)}}
			providers <- []kms.Provider{a, b}[i%2]
		}
		won, errs := race(8, func() (kms.Mark, error) {
			next := <-nexts
			return next, (<-providers).SetMark(bounded(t), from, next)
		})
		from = won[onlyWinner(t, errs, kms.ErrClaim)]
		wantMark(t, a, from)
		wantMark(t, b, from)
	}
}

func markReopen(t *testing.T, o Opener) {
	first := o(t)
	m := kms.Mark{Entries: 7, Head: [32]byte{7}}
	if err := first.SetMark(bounded(t), kms.Mark{}, m); err != nil {
		t.Fatalf("set mark: %v", err)
	}
	Claim(t, first) // the generation is another thing
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	second := open(t, o)
	wantMark(t, second, m)
	if err := second.SetMark(bounded(t), kms.Mark{}, kms.Mark{Entries: 1}); !errors.Is(err, kms.ErrClaim) {
		t.Errorf("set the first mark after a reopen: %v, want ErrClaim", err)
	}
	wantMark(t, second, m)
}
