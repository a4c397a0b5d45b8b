package crowd

import (
	"os"
	"strconv"
	"testing"

	"github.com/sandyq/sandyq/vault/iin"
)

// TestNobodyIsDrawnTwice draws more people than there are telephone numbers for: numbers that identify are each one person's all the same, and
// drawing comes to an end.
func TestNobodyIsDrawnTwice(t *testing.T) {
	people := 150_000
	if by, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil && by > 0 {
		people = min(people*by, 1_000_000)
	}
	c := New(1)
	iins, documents, refs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for n := range people {
		p, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if iins[p.IIN] || documents[p.DocumentNumber] || refs[p.ExternalRef] {
			t.Fatalf("person %d has a number of somebody before", n+1)
		}
		iins[p.IIN], documents[p.DocumentNumber], refs[p.ExternalRef] = true, true, true
		if !wellFormed(p.IIN) || len(p.Phones) == 0 || p.FamilyName == "" || p.GivenName == "" {
			t.Fatalf("person %d is incomplete: %+v", n+1, p)
		}
	}
}

func wellFormed(number string) bool {
	digit, ok := iin.CheckDigit(number[:11])
	return ok && digit == number[11]
}

// TestASeedIsACrowd: the same people in the same order, and others from another seed.
func TestASeedIsACrowd(t *testing.T) {
	a, b, other := New(1), New(1), New(2)
	same := 0
	for range 100 {
		p, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		q, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		r, err := other.Next()
		if err != nil {
			t.Fatal(err)
		}
		if p.IIN != q.IIN || p.DocumentNumber != q.DocumentNumber {
			t.Fatal("one seed draws different people")
		}
		if p.IIN == r.IIN {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d people of two seeds have one IIN", same)
	}
}
