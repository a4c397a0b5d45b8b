package hashicorp

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", ""},
		{"a", "a", ""},
		{"", "a b", "+ a|+ b"},
		{"a b", "", "- a|- b"},
		{"a b c", "a x c", "- b|+ x"},
		{"a b a b", "b a", "- a|- b"},
	} {
		got := strings.Join(difference(strings.Fields(c[0]), strings.Fields(c[1])), "|")
		if got != c[2] {
			t.Errorf("from %q to %q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// TestDifferenceTellsAll: what goes and what comes make the one text of the other, as far as counting lines can tell.
func TestDifferenceTellsAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() []string {
		lines := make([]string, random.IntN(12))
		for i := range lines {
			lines[i] = string(rune('a' + random.IntN(4)))
		}
		return lines
	}
	for range 2000 {
		was, is := text(), text()
		count := map[string]int{}
		for _, line := range was {
			count[line]++
		}
		for _, line := range difference(was, is) {
			if line[0] == '+' {
				count[line[2:]]++
			} else {
				count[line[2:]]--
			}
		}
		for _, line := range is {
			count[line]--
		}
		for line, n := range count {
			if n != 0 {
				t.Fatalf("from %q to %q: %q is off by %d", was, is, line, n)
			}
		}
		if len(difference(was, is)) == 0 != slices.Equal(was, is) {
			t.Fatalf("from %q to %q", was, is)
		}
	}
}
