package kms_test

import (
	"errors"
	"math"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
)

func FuzzParseID(f *testing.F) {
	f.Add("00112233445566778899aabbccddeeff")
	f.Add("00112233445566778899AABBCCDDEEFF")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := kms.ParseID(s)
		if err == nil && id.String() != s {
			t.Fatalf("%q is read as %s", s, id)
		}
		if err != nil && !id.IsZero() {
			t.Fatalf("%q is refused and yet gives %s", s, id)
		}
	})
}

func TestParseID(t *testing.T) {
	id := kms.NewID()
	if again, err := kms.ParseID(id.String()); err != nil || again != id {
		t.Errorf("%s is read as %s (%v)", id, again, err)
	}
	for _, s := range []string{"", "00", "00112233445566778899AABBCCDDEEFF", "0g112233445566778899aabbccddeeff", id.String() + "00"} {
		if _, err := kms.ParseID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
	}
}

func TestClaim(t *testing.T) {
	sentinel, generation := kms.Sentinel{1}, kms.Generation{Number: 3, Instance: kms.NewID()}
	holds := kms.Claim{Sentinel: sentinel, Generation: generation}
	if err := holds.Check(sentinel, generation); err != nil {
		t.Errorf("a claim that holds: %v", err)
	}
	for name, err := range map[string]error{
		"another sentinel":      holds.Check(kms.Sentinel{2}, generation),
		"an older generation":   holds.Check(sentinel, kms.Generation{Number: 4, Instance: generation.Instance}),
		"another instance":      holds.Check(sentinel, kms.Generation{Number: 3, Instance: kms.NewID()}),
		"no generation yet":     kms.Claim{Sentinel: sentinel}.Check(sentinel, kms.Generation{}),
		"no sentinel anywhere":  kms.Claim{Generation: generation}.Check(kms.Sentinel{}, generation),
		"nothing at all":        kms.Claim{}.Check(kms.Sentinel{}, kms.Generation{}),
		"a generation 0 of one": kms.Claim{Sentinel: sentinel, Generation: kms.Generation{Instance: generation.Instance}}.Check(sentinel, kms.Generation{Instance: generation.Instance}),
	} {
		if !errors.Is(err, kms.ErrClaim) {
			t.Errorf("%s: %v, want ErrClaim", name, err)
		}
	}
}

func TestGenerationCheck(t *testing.T) {
	at := func(n uint64) kms.Generation { return kms.Generation{Number: n, Instance: kms.NewID()} }
	one, two := at(1), at(2)
	for _, c := range []struct {
		name            string
		now, from, next kms.Generation
		done, refused   bool
	}{
		{"first", kms.Generation{}, kms.Generation{}, one, false, false},
		{"next", one, one, two, false, false},
		{"again", two, one, two, true, false},
		{"stale", two, one, at(2), false, true},
		{"gap", one, one, at(3), false, true},
		{"overflow", at(math.MaxUint64), at(math.MaxUint64), at(0), false, true},
		{"no instance", one, one, kms.Generation{Number: 2}, false, true},
	} {
		done, err := c.now.Check(c.from, c.next)
		if done != c.done || errors.Is(err, kms.ErrClaim) != c.refused {
			t.Errorf("%s: done %v, %v; want done %v, refused %v", c.name, done, err, c.done, c.refused)
		}
	}
}
