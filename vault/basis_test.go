package vault

import (
	"bytes"
	"testing"
)

// FuzzBases: what is read as a person's bases is what would be written, to the byte, and what follows is left alone.
func FuzzBases(f *testing.F) {
	f.Add([]byte{0})
	f.Add(encodeBases(nil, []basis{
		{purpose: "service", withdrawn: true, until: 7, consent: ConsentID{1}, version: 2}, {purpose: "a", until: -1},
	}))
	f.Add(append(encodeBases(nil, make([]basis, maxBases)), 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, rest, err := decodeBases(b)
		if err != nil {
			return
		}
		if again := append(encodeBases(nil, all), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x is read as %+v and %x, which is %x", b, all, rest, again)
		}
	})
}
