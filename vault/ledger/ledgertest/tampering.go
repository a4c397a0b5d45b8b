package ledgertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/ledger"
)

func keysFail(err error) func(context.Context) ([]ed25519.PublicKey, error) {
	return func(context.Context) ([]ed25519.PublicKey, error) { return nil, err }
}

// deed is something that was done to the lines of a ledger.
type deed struct {
	name string
	do   func(t testing.TB, lines [][]byte) [][]byte
	want error // nil where any of the ledger's will do
	// hidden says that what is left is a ledger by itself: only who has seen more of it can tell.
	hidden bool
}

// deeds are what the suite does to a ledger of six entries.
func deeds() []deed {
	all := []deed{
		{"a line is dropped", func(_ testing.TB, l [][]byte) [][]byte { return slices.Delete(l, 3, 4) }, ledger.ErrDamaged, false},
		{"the header is dropped", func(_ testing.TB, l [][]byte) [][]byte { return l[1:] }, ledger.ErrDamaged, false},
		{"two lines are swapped", func(_ testing.TB, l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }, ledger.ErrDamaged, false},
		{"a line stands twice", func(_ testing.TB, l [][]byte) [][]byte { return slices.Insert(l, 4, l[3]) }, ledger.ErrDamaged, false},
		{"the last line stands twice", func(_ testing.TB, l [][]byte) [][]byte { return append(l, l[6]) }, ledger.ErrDamaged, false},
		{"an empty line", func(_ testing.TB, l [][]byte) [][]byte { return slices.Insert(l, 4, nil) }, ledger.ErrDamaged, false},
		{"another ledger of the tenant", func(t testing.TB, _ [][]byte) [][]byte { return forge(t, ours, nil, 0, 6) }, ledger.ErrForged, true},
		{"an entry of a foreign key", func(t testing.TB, l [][]byte) [][]byte { return forge(t, "theirs", l, 6, 7) }, ledger.ErrForged, false},
		{"entries re-signed by a foreign key", func(t testing.TB, l [][]byte) [][]byte { return forge(t, "theirs", l[:4], 3, 6) }, ledger.ErrForged, false},
		{"entries re-written by a foreign key", func(t testing.TB, l [][]byte) [][]byte { return forge(t, "theirs", l[:4], 13, 16) }, ledger.ErrForged, false},
		{"a line in another form", func(_ testing.TB, l [][]byte) [][]byte {
			l[2] = bytes.Replace(l[2], []byte(`,"n":`), []byte(`, "n":`), 1)
			return l
		}, ledger.ErrDamaged, false},
		{"a member more", func(_ testing.TB, l [][]byte) [][]byte {
			l[2] = bytes.Replace(l[2], []byte(`,"n":`), []byte(`,"more":1,"n":`), 1)
			return l
		}, ledger.ErrDamaged, false},
	}
	for n := range 6 {
		all = append(all, deed{fmt.Sprintf("entries are cut off after %d", n),
			func(_ testing.TB, l [][]byte) [][]byte { return l[:n+1] }, ledger.ErrTruncated, true})
	}
	return all
}

// forge appends entries to lines, or makes a ledger of them, signed by a key.
func forge(t testing.TB, by Signer, lines [][]byte, from, until int) [][]byte {
	t.Helper()
	if lines == nil {
		header, err := ledger.SealHeader(t.Context(), by, ledger.Header{ID: [16]byte{9}, Tenant: Tenant, At: Options(by).Clock()})
		if err != nil {
			t.Fatal(err)
		}
		lines = [][]byte{header}
	}
	for n := from; n < until; n++ {
		last := lines[len(lines)-1]
		e := Written(Entry(n), 0)
		line, err := ledger.Seal(t.Context(), by, ledger.Head{Entries: uint64(len(lines) - 1), Hash: sha256.Sum256(last)}, e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// flips change a byte of the lines, each once in so many.
func flips(lines [][]byte, every int) (all []deed) {
	at := 0
	for i, line := range lines {
		for j := range line {
			if at++; at%every != 0 {
				continue
			}
			mask := []byte{1, 0x20, 0x80, line[j] ^ '\n'}[at/every%4]
			all = append(all, deed{fmt.Sprintf("bits %#x of byte %d of line %d", mask, j, i), func(_ testing.TB, l [][]byte) [][]byte {
				l[i][j] ^= mask
				return l
			}, nil, false})
		}
	}
	return all
}

func copied(lines [][]byte) (all [][]byte) {
	for _, line := range lines {
		all = append(all, bytes.Clone(line))
	}
	return all
}

// stops reports whether an error is one that stops whoever relies on a ledger.
func stops(err error) bool {
	return errors.Is(err, ledger.ErrTruncated) || errors.Is(err, ledger.ErrDamaged) || errors.Is(err, ledger.ErrForged)
}

func tampered(t *testing.T, p Place) {
	if p.Replace == nil {
		t.Skip("its lines cannot be replaced")
	}
	l := create(t, p, Entries(0, 6)...)
	mark := headOf(t, l)
	shut(t, l)
	lines := p.Lines(t)
	for _, d := range append(deeds(), flips(lines, 1)...) {
		p.Replace(t, d.do(t, copied(lines)))
		l, err := p.Open(t.Context(), Options(ours))
		if d.hidden && err == nil {
			err = ledger.Compare(t.Context(), l, mark)
			shut(t, l)
		} else if err == nil {
			shut(t, l)
		}
		if !stops(err) || d.want != nil && !errors.Is(err, d.want) {
			t.Errorf("%s: %v, want %v", d.name, err, d.want)
		}
	}
	p.Replace(t, lines)
	l = open(t, p, ours)
	if got := headOf(t, l); got != mark {
		t.Errorf("with its own lines: Head = %+v, want %+v", got, mark)
	}
}

func tamperedAlive(t *testing.T, p Place) {
	if p.Replace == nil {
		t.Skip("its lines cannot be replaced")
	}
	l := create(t, p, Entries(0, 6)...)
	mark := headOf(t, l)
	lines := p.Lines(t)
	for _, d := range append(deeds(), flips(lines, 17)...) {
		time.Sleep(5 * time.Millisecond) // a file system's times are no finer
		p.Replace(t, d.do(t, copied(lines)))
		if _, err := l.Head(t.Context()); !stops(err) {
			t.Errorf("%s: Head = %v, want an error that stops", d.name, err)
		}
		if _, err := l.Append(t.Context(), Entry(7)); !stops(err) {
			t.Errorf("%s: Append = %v, want an error that stops", d.name, err)
		}
	}
	time.Sleep(5 * time.Millisecond)
	p.Replace(t, lines)
	if got := headOf(t, l); got != mark {
		t.Errorf("with its own lines again: Head = %+v, want %+v", got, mark)
	}
}
