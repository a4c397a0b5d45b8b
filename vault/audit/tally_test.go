package audit_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/audit"
)

// TestTally: entries of one kind are counted together, whatever the order of their fields, and people once.
func TestTally(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	tally := audit.NewTally(100)
	for i, e := range []audit.Entry{
		{System: "crm", Operation: "reveal", Fields: []string{"iin", "email"}, Subject: "a", Items: 2, Decision: audit.Allow},
		{System: "crm", Operation: "reveal", Fields: []string{"email", "iin"}, Subject: "a", Items: 2, Decision: audit.Allow},
		{System: "crm", Operation: "reveal", Fields: []string{"email", "iin"}, Subject: "b", Items: 1, Decision: audit.Allow},
		{System: "crm", Operation: "reveal", Fields: []string{"email", "iin"}, Subject: "c", Items: 9, Decision: audit.Deny},
		{System: "crm", Operation: "erasure.show", Decision: audit.Allow},
	} {
		e.At = at.Add(time.Duration(i) * time.Second)
		if !tally.Add(&e) {
			t.Fatalf("entry %d is not counted", i)
		}
	}
	want := []audit.Sum{
		{System: "crm", Operation: "erasure.show", Permitted: 1, LastAt: at.Add(4 * time.Second)},
		{System: "crm", Operation: "reveal", Fields: []string{"email", "iin"}, Permitted: 3, Refused: 1, Items: 5, People: 2, LastAt: at.Add(3 * time.Second)},
	}
	if got := tally.Sums(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestATallyIsBounded: whoever does something of ever new kinds, or about ever new people, does not fill the memory of whoever
// reviews it; what is known is counted on, and what is not counted leaves no trace.
func TestATallyIsBounded(t *testing.T) {
	people, kinds := audit.NewTally(8+100), audit.NewTally(100*8)
	for i := range 1000 {
		who := audit.Entry{System: "crm", Operation: "reveal", Subject: fmt.Sprintf("sub_%026d", i), Decision: audit.Allow}
		if got := people.Add(&who); got != (i < 100) {
			t.Fatalf("person %d counted: %t", i, got)
		}
		what := audit.Entry{System: "crm", Operation: "reveal", Fields: []string{fmt.Sprint(i)}, Decision: audit.Deny}
		if got := kinds.Add(&what); got != (i < 100) {
			t.Fatalf("kind %d counted: %t", i, got)
		}
	}
	again := audit.Entry{System: "crm", Operation: "reveal", Subject: fmt.Sprintf("sub_%026d", 7), Decision: audit.Allow}
	if !people.Add(&again) {
		t.Error("who is known is not counted any more")
	}
	if got := people.Sums()[0]; got.People != 100 || got.Permitted != 101 {
		t.Errorf("%+v", got)
	}
	if got := kinds.Sums(); len(got) != 100 {
		t.Errorf("%d kinds", len(got))
	}
}
