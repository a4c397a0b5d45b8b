package checkpoint_test

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// FuzzCheckpoint: what opens is what would be written, x/mod opens it too, and every refusal is one of the two errors.
func FuzzCheckpoint(f *testing.F) {
	a := newSigner(origin, "a")
	_, verifier := a.plain(f)
	for n := range 4 {
		f.Add(issue(f, grow(f, n).tree(f, origin), a))
		f.Add(issue(f, grow(f, n).tree(f, origin), newSigner("w.example", "w"), a))
	}
	f.Add(issue(f, grow(f, 2).tree(f, "other"), newSigner("other", "a")))
	f.Fuzz(func(t *testing.T, msg []byte) {
		tree, err := checkpoint.OpenTree(msg, a.Key())
		if err != nil {
			if !errors.Is(err, checkpoint.ErrFormat) && !errors.Is(err, checkpoint.ErrUnverified) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		text, err := tree.Marshal()
		if err != nil || !bytes.HasPrefix(msg, []byte(text+"\n")) {
			t.Fatalf("%q is written as %q (%v)", msg, text, err)
		}
		if _, err := note.Open(msg, note.VerifierList(verifier)); err != nil {
			t.Fatalf("x/mod refuses %q: %v", msg, err)
		}
	})
}

// FuzzProof: what parses is what would be written.
func FuzzProof(f *testing.F) {
	a := newSigner(origin, "a")
	for n := 1; n < 5; n++ {
		p := prove(f, grow(f, n), n/2, a)
		plain, _ := p.Marshal()
		p.Extra = []byte{1, 2}
		extra, _ := p.Marshal()
		f.Add(plain)
		f.Add(extra)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := checkpoint.ParseInclusionProof(b)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q is written as %q (%v)", b, again, err)
		}
		_, _ = p.Verify([]byte("entry 0"), a.Key())
	})
}

// FuzzSuccession: what parses is what would be written.
func FuzzSuccession(f *testing.F) {
	a, b := newSigner(origin, "a"), newSigner(origin, "b")
	text, _ := checkpoint.Succession{From: a.Key(), To: b.Key(), Size: 3}.Marshal()
	f.Add(text)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := checkpoint.ParseSuccession(text)
		if err != nil {
			return
		}
		if again, err := s.Marshal(); err != nil || again != text {
			t.Fatalf("%q is written as %q (%v)", text, again, err)
		}
	})
}

// FuzzKey: what parses is what would be written, and x/mod takes it.
func FuzzKey(f *testing.F) {
	f.Add(newSigner(origin, "a").Key().String())
	f.Fuzz(func(t *testing.T, text string) {
		k, err := checkpoint.ParseKey(text)
		if err != nil {
			return
		}
		if k.String() != text {
			t.Fatalf("%q is written as %q", text, k)
		}
		if _, err := note.NewVerifier(text); err != nil {
			t.Fatalf("x/mod refuses %q: %v", text, err)
		}
	})
}
