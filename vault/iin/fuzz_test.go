package iin_test

import (
	"testing"

	"github.com/sandyq/sandyq/vault/iin"
)

// Whatever the input: no panic, only the named error, Strict no wider than Lenient and narrower by the doubts exactly.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"850312113646", "850312100018", "850230113640", "991340000017", "", "８５０３１２１１３６４６"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		strict, lenient := iin.Check(s, iin.Strict), iin.Check(s, iin.Lenient)
		for _, err := range []error{strict, lenient} {
			if _, named := err.(*iin.Error); err != nil && !named {
				t.Fatalf("error %T is not of the package", err)
			}
		}
		if lenient != nil {
			if strict == nil || strict.Error() != lenient.Error() {
				t.Fatalf("lenient refuses with %v, strict says %v", lenient, strict)
			}
			return
		}
		if (strict == nil) != (len(iin.Doubts(s)) == 0) {
			t.Fatalf("strict says %v, the doubts are %v", strict, iin.Doubts(s))
		}
		if len(s) != 12 {
			t.Fatalf("accepted %d bytes", len(s))
		}
	})
}
