package main

import (
	"strings"
	"testing"
)

// No value that somebody gives as an argument, or as a flag's, comes back on standard error.
func TestNoArgumentComesBack(t *testing.T) {
	const value = "850312113646"
	for _, args := range [][]string{
		{value}, {"subject", value}, {"access", value}, {"tokenize", value}, {"tokenize", "--" + value}, {"audit", "entries", "--limit", value + "x"},
		{"audit", "entries", "--from", value}, {"document", "put", "a", "b", "c", value}, {"approve", "a", value}, {"serve", "--dev=" + value},
		{"search", "--field", "iin", value}, {"erase", "a", value},
	} {
		if code, out, errs := sandyq(t, args...); strings.Contains(out+errs, value) {
			t.Errorf("%v: %d %s", args, code, strings.SplitN(errs, "\n", 2)[0])
		}
	}
}
