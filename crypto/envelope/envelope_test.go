package envelope_test

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

var (
	testKey = bytes.Repeat([]byte{0x51}, envelope.KeySize)
	field   = envelope.Context{Kind: "field", Tenant: "default", Subject: "sub_7", Name: "iin/0", Version: 3}
)

func seal(t testing.TB, c envelope.Context, plaintext []byte) []byte {
	t.Helper()
	sealed, err := envelope.Seal(secret.New(testKey), c, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// refused fails the test unless sealed gives ErrOpen itself and nothing else.
func refused(t testing.TB, key []byte, c envelope.Context, sealed []byte, what string) {
	t.Helper()
	plaintext, err := envelope.Open(secret.New(key), c, sealed)
	if err != envelope.ErrOpen || plaintext != nil { //nolint:errorlint // one error: not even wrapped
		t.Fatalf("%s: got %d bytes and %v", what, len(plaintext), err)
	}
}

// edges are the plaintext lengths around every change of padded length, up to the largest.
func edges() []int {
	lengths := []int{0, 1, envelope.MaxPlaintext - 1, envelope.MaxPlaintext}
	for n := 1; n < envelope.MaxPlaintext; n++ {
		if plainPaddedSize(n) != plainPaddedSize(n-1) {
			lengths = append(lengths, n-1, n)
		}
	}
	slices.Sort(lengths)
	return slices.Compact(lengths)
}

func TestRoundTripAtEveryPaddingEdge(t *testing.T) {
	data := bytes.Repeat([]byte{0xa7}, envelope.MaxPlaintext)
	for _, n := range edges() {
		sealed := seal(t, field, data[:n])
		if want := envelope.Overhead + plainPaddedSize(n); len(sealed) != want || envelope.Size(n) != want {
			t.Fatalf("%d bytes seal to %d and Size says %d; the format says %d", n, len(sealed), envelope.Size(n), want)
		}
		opened, err := envelope.Open(secret.New(testKey), field, sealed)
		if err != nil || !bytes.Equal(opened, data[:n]) {
			t.Fatalf("%d bytes come back as %d, %v", n, len(opened), err)
		}
		second, err := plainOpen(testKey, field, sealed)
		if err != nil || !bytes.Equal(second, data[:n]) {
			t.Fatalf("the second decoder reads %d bytes as %d, %v", n, len(second), err)
		}
	}
}

func TestPaddingSteps(t *testing.T) {
	for n, want := range map[int]int{
		0: 16, 12: 16, 13: 32, 28: 32, 29: 64, 60: 64, 61: 128, 4092: 4096, 4093: 4352, 4348: 4352, 4349: 4608,
		65_532: 65_536, 65_533: 67_584, envelope.MaxPlaintext: 1 << 20,
	} {
		if got := envelope.Size(n) - envelope.Overhead; got != want {
			t.Errorf("%d bytes are padded to %d, want %d", n, got, want)
		}
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[uint64]uint64{ // computed by hand from the paper
		0: 0, 1: 1, 2: 2, 8: 8, 9: 10, 10: 10, 11: 12, 100: 104, 1000: 1024, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15,
		20_000_000: 20_447_232, 1 << 62: 1 << 62,
	} {
		if got := envelope.Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
	for n := uint64(1); n < 1<<20; n++ {
		got := envelope.Padme(n)
		if got < n || float64(got) > 1.12*float64(n) && n > 8 || envelope.Padme(got) != got {
			t.Fatalf("Padme(%d) = %d, of which Padme is %d", n, got, envelope.Padme(got))
		}
	}
}

func TestSealingTwiceDiffers(t *testing.T) {
	a, b := seal(t, field, []byte("850312113646")), seal(t, field, []byte("850312113646"))
	if bytes.Equal(a[1:33], b[1:33]) || bytes.Equal(a[65:], b[65:]) {
		t.Error("salt or ciphertext repeats")
	}
}

func TestSealRefuses(t *testing.T) {
	long := strings.Repeat("x", 65_536)
	for name, c := range map[string]struct {
		key     int
		context envelope.Context
		size    int
		want    error
	}{
		"a short key":    {31, field, 1, envelope.ErrKey},
		"a long key":     {33, field, 1, envelope.ErrKey},
		"no key":         {0, field, 1, envelope.ErrKey},
		"too much":       {32, field, envelope.MaxPlaintext + 1, envelope.ErrTooLong},
		"no context":     {32, envelope.Context{}, 1, envelope.ErrContext},
		"a long kind":    {32, envelope.Context{Kind: long}, 1, envelope.ErrContext},
		"a long tenant":  {32, envelope.Context{Kind: "field", Tenant: long}, 1, envelope.ErrContext},
		"a long subject": {32, envelope.Context{Kind: "field", Subject: long}, 1, envelope.ErrContext},
		"a long name":    {32, envelope.Context{Kind: "field", Name: long}, 1, envelope.ErrContext},
	} {
		sealed, err := envelope.Seal(secret.New(make([]byte, c.key)), c.context, make([]byte, c.size))
		if !errors.Is(err, c.want) || sealed != nil {
			t.Errorf("%s: %d bytes and %v, want %v", name, len(sealed), err, c.want)
		}
		sealed = seal(t, field, nil)
		if c.size == 1 {
			refused(t, make([]byte, c.key), c.context, sealed, name)
		}
	}
}

func TestEveryBitCounts(t *testing.T) {
	for _, n := range []int{0, 12, 13, 100} {
		sealed := seal(t, field, make([]byte, n))
		for bit := range len(sealed) * 8 {
			sealed[bit/8] ^= 1 << (bit % 8)
			refused(t, testKey, field, sealed, "a flipped bit")
			sealed[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestEveryOtherLengthIsRefused(t *testing.T) {
	sealed := seal(t, field, make([]byte, 100))
	for n := range sealed {
		refused(t, testKey, field, sealed[:n], "cut at the end")
		refused(t, testKey, field, sealed[n+1:], "cut at the front")
	}
	for n := 1; n <= 300; n++ {
		refused(t, testKey, field, append(slices.Clone(sealed), make([]byte, n)...), "extended")
	}
	refused(t, testKey, field, make([]byte, envelope.Overhead+1<<20+1), "longer than the longest")
}

// TestSizesOutOfBoundsAreRefused seals properly what is too short or too long to have been sealed.
func TestSizesOutOfBoundsAreRefused(t *testing.T) {
	salt, nonce := make([]byte, 32), make([]byte, 12)
	for n := range 16 {
		refused(t, testKey, field, plainSeal(testKey, field, salt, nonce, make([]byte, n)), "shorter than the shortest")
	}
	long := plainPad(make([]byte, envelope.MaxPlaintext+1))
	refused(t, testKey, field, plainSeal(testKey, field, salt, nonce, long), "longer than the longest")
}

func TestKeysOfOtherSizesAreRefused(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		key := make([]byte, n)
		sealed := plainSeal(key, field, make([]byte, 32), make([]byte, 12), plainPad(nil))
		refused(t, key, field, sealed, "a key of another size")
	}
}

func TestEveryPartOfTheContextBinds(t *testing.T) {
	sealed := seal(t, field, []byte("850312113646"))
	for name, change := range map[string]func(*envelope.Context){
		"kind":         func(c *envelope.Context) { c.Kind = "note" },
		"tenant":       func(c *envelope.Context) { c.Tenant = "other" },
		"subject":      func(c *envelope.Context) { c.Subject = "sub_8" },
		"name":         func(c *envelope.Context) { c.Name = "iin/1" },
		"version":      func(c *envelope.Context) { c.Version++ },
		"high version": func(c *envelope.Context) { c.Version |= 1 << 63 },
		"no kind":      func(c *envelope.Context) { c.Kind = "" },
		"no tenant":    func(c *envelope.Context) { c.Tenant = "" },
		"no subject":   func(c *envelope.Context) { c.Subject = "" },
		"no name":      func(c *envelope.Context) { c.Name = "" },
		"parts moved":  func(c *envelope.Context) { c.Tenant, c.Subject = c.Tenant+c.Subject, "" },
		"a byte moved": func(c *envelope.Context) { c.Tenant, c.Subject = "defaul", "tsub_7" },
		"parts traded": func(c *envelope.Context) { c.Name, c.Subject = c.Subject, c.Name },
	} {
		c := field
		change(&c)
		refused(t, testKey, c, sealed, name)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	sealed := seal(t, field, []byte("850312113646"))
	for bit := range len(testKey) * 8 {
		key := slices.Clone(testKey)
		key[bit/8] ^= 1 << (bit % 8)
		refused(t, key, field, sealed, "a key of one other bit")
	}
}

func TestOpenLeavesSealedAlone(t *testing.T) {
	sealed := seal(t, field, []byte("850312113646"))
	before := slices.Clone(sealed)
	opened, err := envelope.Open(secret.New(testKey), field, sealed)
	if err != nil {
		t.Fatal(err)
	}
	clear(opened)
	if !bytes.Equal(sealed, before) {
		t.Error("the plaintext shares memory with the sealed value")
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
