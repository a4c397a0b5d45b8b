package blind_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/secret"
)

// mac does what the key provider does.
func mac(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

func epoch(t testing.TB, number uint32, key []byte) *blind.Epoch {
	t.Helper()
	e, err := blind.NewEpoch(number, secret.New(bytes.Clone(key)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func entry(t testing.TB, e *blind.Epoch, mac []byte) blind.Entry {
	t.Helper()
	entry, err := e.Entry(mac)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

var indexKey, first, second = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)

func TestEqualValuesGiveEqualEntries(t *testing.T) {
	e := epoch(t, 1, first)
	seen := map[blind.Entry]string{}
	for _, in := range [][3]string{
		{"default", "iin", "850312113646"},
		{"default", "iin", "990228213644"},
		{"other", "iin", "850312113646"},
		{"default", "phone", "850312113646"},
		{"defaulti", "in", "850312113646"},
		{"default", "iin8", "50312113646"},
		{"default", "iin", ""},
		{"default", "", "iin"},
		{"", "default", "iin"},
		{"", "", ""},
	} {
		a, b := entry(t, e, mac(indexKey, blind.Input(in[0], in[1], in[2]))), entry(t, e, mac(indexKey, blind.Input(in[0], in[1], in[2])))
		if a != b {
			t.Errorf("%q gives two entries", in)
		}
		if other, ok := seen[a]; ok {
			t.Errorf("%q and %s give one entry", in, other)
		}
		seen[a] = fmt.Sprintf("%q", in)
	}
}

func TestInputIsInjective(t *testing.T) {
	part := rapid.StringN(0, 5, -1)
	rapid.Check(t, func(t *rapid.T) {
		var a, b [3]string
		for i := range a {
			a[i], b[i] = part.Draw(t, "a"), part.Draw(t, "b")
		}
		if bytes.Equal(blind.Input(a[0], a[1], a[2]), blind.Input(b[0], b[1], b[2])) != (a == b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

func TestAnotherKeyOrEpochGivesAnotherBlock(t *testing.T) {
	input := blind.Input("default", "iin", "850312113646")
	a := entry(t, epoch(t, 1, first), mac(indexKey, input))
	if b := entry(t, epoch(t, 1, second), mac(indexKey, input)); a == b {
		t.Error("the epoch's key does not matter")
	}
	if b := entry(t, epoch(t, 1, first), mac(second, input)); a == b {
		t.Error("the index key does not matter")
	}
	b := entry(t, epoch(t, 1<<31, first), mac(indexKey, input))
	if a.Epoch() != 1 || b.Epoch() != 1<<31 || !bytes.Equal(a[4:], b[4:]) {
		t.Errorf("entries of epochs %d and %d: %x, %x", a.Epoch(), b.Epoch(), a, b)
	}
}

// TestRotation carries every entry to a new epoch, where searching finds it, without values and without the index key.
func TestRotation(t *testing.T) {
	old, next := epoch(t, 7, first), epoch(t, 8, second)
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "mac")
		before, err := old.Entry(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := next.Entry(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := next.Remap(old, before)
		if err != nil || got != want {
			t.Fatalf("remapped to %x, %v, but searched as %x", got, err, want)
		}
		if back, err := old.Remap(next, got); err != nil || back != before {
			t.Fatalf("back to %x, %v, from %x", back, err, before)
		}
	})
}

func TestRemapRefusesAnotherEpoch(t *testing.T) {
	old, next := epoch(t, 7, first), epoch(t, 8, second)
	there := entry(t, next, make([]byte, 32))
	for _, e := range []blind.Entry{there, {}} {
		if got, err := next.Remap(old, e); !errors.Is(err, blind.ErrEpoch) || got != (blind.Entry{}) {
			t.Errorf("an entry of epoch %d: %x, %v", e.Epoch(), got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, size := range []int{0, 16, 24, 31, 33} {
		if e, err := blind.NewEpoch(1, secret.New(make([]byte, size))); err == nil || e != nil {
			t.Errorf("a key of %d bytes is taken", size)
		}
	}
	if e, err := blind.NewEpoch(0, secret.New(first)); err == nil || e != nil {
		t.Error("epoch 0 is taken")
	}
	e := epoch(t, 3, first)
	for _, size := range []int{0, 16, 31, 33, 64} {
		if got, err := e.Entry(make([]byte, size)); err == nil || got != (blind.Entry{}) {
			t.Errorf("a MAC of %d bytes is taken", size)
		}
	}
	if e.Number() != 3 {
		t.Errorf("number is %d", e.Number())
	}
}

func TestEpochDoesNotShowItsKey(t *testing.T) {
	e := epoch(t, 1, first)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		for _, value := range []any{e, *e, struct{ e *blind.Epoch }{e}, struct{ e blind.Epoch }{*e}} {
			shown := fmt.Sprintf(verb, value)
			for _, key := range []string{"0202", "2 2 2", "0x2, 0x2", "33686018"} { // 33686018 is the key's four bytes as a number
				if strings.Contains(shown, key) {
					t.Errorf("%q shows %q", verb, shown)
				}
			}
		}
	}
}

// TestFIPS runs this package's tests in processes that are in, and that enforce, FIPS 140-3 mode.
func TestFIPS(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("in FIPS mode already")
	}
	for _, mode := range []string{"on", "only"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^Test", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- SKIP: TestFIPS")) {
			t.Errorf("under fips140=%s: %v\n%s", mode, err, out)
		}
	}
}

func BenchmarkEntry(b *testing.B) {
	e := epoch(b, 1, first)
	m := make([]byte, blind.MACSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Entry(m); err != nil {
			b.Fatal(err)
		}
	}
}
