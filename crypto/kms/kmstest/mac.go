package kmstest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
)

func sums(t *testing.T, p kms.Provider, inputs ...[]byte) [][]byte {
	t.Helper()
	out, err := p.MAC(bounded(t), inputs...)
	if err != nil {
		t.Fatalf("MAC of %d inputs: %v", len(inputs), err)
	}
	if len(out) != len(inputs) {
		t.Fatalf("MAC of %d inputs answers %d sums", len(inputs), len(out))
	}
	for i, sum := range out {
		if len(sum) != kms.MACSize {
			t.Fatalf("MAC %d has %d bytes, want %d", i, len(sum), kms.MACSize)
		}
	}
	return out
}

func mac(t *testing.T, o Opener) {
	p := open(t, o)
	inputs := [][]byte{[]byte("a"), []byte("b"), {}, {0}, bytes.Repeat([]byte{0xff}, 10_000), []byte("a")}
	first := sums(t, p, inputs...)
	for i, sum := range sums(t, p, inputs...) {
		if !bytes.Equal(sum, first[i]) {
			t.Errorf("MAC %d differs from one call to the next", i)
		}
	}
	if !bytes.Equal(first[0], first[5]) {
		t.Error("equal inputs have different MACs")
	}
	for i := range 5 {
		for j := range i {
			if bytes.Equal(first[i], first[j]) {
				t.Errorf("inputs %d and %d have the same MAC", j, i)
			}
		}
	}
}

func macMany(t *testing.T, o Opener) {
	p := open(t, o)
	inputs := make([][]byte, 2000)
	for i := range inputs {
		inputs[i] = fmt.Appendf(nil, "input %d", i)
	}
	all := sums(t, p, inputs...)
	for _, i := range []int{0, 1, 999, 1999} {
		if !bytes.Equal(all[i], sums(t, p, inputs[i])[0]) {
			t.Errorf("MAC %d in a batch differs from the same one alone", i)
		}
	}
}

func macOther(t *testing.T, a, b Opener) {
	if bytes.Equal(sums(t, open(t, a), []byte("a"))[0], sums(t, open(t, b), []byte("a"))[0]) {
		t.Error("two set-ups have the same index key")
	}
}
