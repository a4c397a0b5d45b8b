package id_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/vault/id"
)

// plainEncode and plainDecode are a second implementation, written from docs/formats.md by way of one large number.

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

func plainEncode(prefix string, b []byte) string {
	digits := make([]byte, 26)
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(32), new(big.Int)
	for i := 25; i >= 0; i-- {
		n.DivMod(n, base, digit)
		digits[i] = alphabet[digit.Int64()]
	}
	return prefix + string(digits)
}

func plainDecode(prefix, s string) ([]byte, error) {
	if !strings.HasPrefix(s, prefix) {
		return nil, errors.New("prefix")
	}
	s = s[len(prefix):]
	if len(s) != 26 {
		return nil, errors.New("length")
	}
	n := new(big.Int)
	for _, c := range []byte(s) {
		digit := strings.IndexByte(alphabet, c)
		if digit < 0 {
			return nil, errors.New("characters")
		}
		n.Add(n.Mul(n, big.NewInt(32)), big.NewInt(int64(digit)))
	}
	if n.BitLen() > 128 {
		return nil, errors.New("range")
	}
	return n.FillBytes(make([]byte, 16)), nil
}

type vector struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	Text   string `json:"text"`
	Bytes  string `json:"bytes,omitzero"` // hexadecimal
	Fails  string `json:"fails,omitzero"`
}

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

func makeVectors() (all []vector) {
	good := func(name, prefix, hexed string) {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			panic(err)
		}
		all = append(all, vector{Name: name, Prefix: prefix, Text: plainEncode(prefix, b), Bytes: hexed})
	}
	good("zero", "", strings.Repeat("00", 16))
	good("all ones", "sub_", strings.Repeat("ff", 16))
	good("counting", "doc_", "000102030405060708090a0b0c0d0e0f")
	good("highest bit", "x", "80"+strings.Repeat("00", 15))
	good("lowest bit", "sub_", strings.Repeat("00", 15)+"01")
	bad := func(name, fails, text string) {
		all = append(all, vector{Name: name, Prefix: "sub_", Text: text, Fails: fails})
	}
	const digits = "00041061050r3gg28a1c60t3gf"
	bad("empty", "prefix", "")
	bad("another prefix", "prefix", "doc_"+digits)
	bad("upper-case prefix", "prefix", "SUB_"+digits)
	bad("25 characters", "length", "sub_"+digits[1:])
	bad("27 characters", "length", "sub_0"+digits)
	bad("129 bits", "range", "sub_8"+digits[1:])
	bad("130 bits", "range", "sub_z"+digits[1:])
	bad("upper case", "characters", "sub_00041061050R3GG28A1C60T3GF")
	for _, alias := range "ilou" {
		bad("the letter "+string(alias), "characters", "sub_"+digits[:25]+string(alias))
	}
	bad("a hyphen", "characters", "sub_"+digits[:12]+"-"+digits[13:])
	bad("a line end", "characters", "sub_"+digits[:25]+"\n")
	bad("full-width digits", "characters", "sub_"+digits[:23]+"０")
	return all
}

func TestVectors(t *testing.T) {
	made, err := json.Marshal(makeVectors(), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile("testdata/vectors.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, published) {
		t.Error("the published vectors are not those the second implementation makes")
	}
	var all []vector
	if err := json.Unmarshal(published, &all, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{
		"prefix": "does not begin", "length": "not 26 characters", "range": "first character", "characters": "base32",
	}
	for _, v := range all {
		b, err := id.Decode(v.Prefix, v.Text)
		_, secondErr := plainDecode(v.Prefix, v.Text)
		if v.Fails == "" {
			if err != nil || secondErr != nil || hex.EncodeToString(b[:]) != v.Bytes || id.Encode(v.Prefix, b) != v.Text {
				t.Errorf("%s: %x, %v, %v", v.Name, b, err, secondErr)
			}
			continue
		}
		if !errors.Is(err, id.ErrMalformed) || !strings.Contains(err.Error(), rules[v.Fails]) || b != [16]byte{} {
			t.Errorf("%s: %x, %v", v.Name, b, err)
		}
		if secondErr == nil || secondErr.Error() != v.Fails {
			t.Errorf("%s: the second decoder says %v, not %s", v.Name, secondErr, v.Fails)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		text := id.Encode("sub_", b)
		if got, err := id.Decode("sub_", text); err != nil || got != b || text != plainEncode("sub_", b[:]) {
			t.Fatalf("%x is written %s and read %x, %v", b, text, got, err)
		}
	})
}

func TestEveryPlaceTakesTheAlphabetOnly(t *testing.T) {
	text := id.Encode("", [16]byte{})
	for i := range len(text) {
		for c := range 256 {
			changed := text[:i] + string([]byte{byte(c)}) + text[i+1:]
			_, err := id.Decode("", changed)
			if want := strings.IndexByte(alphabet, byte(c)) >= 0 && (i > 0 || c <= '7'); (err == nil) != want {
				t.Errorf("%q at %d: %v", byte(c), i, err)
			}
		}
	}
}

func TestTextsSortAsBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "a"))
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "b"))
		if strings.Compare(id.Encode("", a), id.Encode("", b)) != bytes.Compare(a[:], b[:]) {
			t.Fatalf("%x and %x", a, b)
		}
	})
}

func TestNewDiffers(t *testing.T) {
	seen := map[[16]byte]bool{}
	var ones [128]int
	const draws = 2000
	for range draws {
		b := id.New()
		if seen[b] {
			t.Fatal("an identifier repeats")
		}
		seen[b] = true
		for bit := range ones {
			ones[bit] += int(b[bit/8] >> (bit % 8) & 1)
		}
	}
	for bit, n := range ones {
		if n < draws/2-250 || n > draws/2+250 { // eleven standard deviations
			t.Errorf("bit %d is set in %d of %d", bit, n, draws)
		}
	}
}

func TestErrorsHoldNoInput(t *testing.T) {
	for _, text := range []string{"850312113646", "sub_850312113646", "sub_85031211364685031211364685", "sub_o5031211364685031211364685"} {
		if _, err := id.Decode("sub_", text); err == nil || strings.Contains(err.Error(), "850312") || strings.Contains(err.Error(), "503121") {
			t.Errorf("the error is %v", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range makeVectors() {
		f.Add(v.Prefix, v.Text)
	}
	f.Fuzz(func(t *testing.T, prefix, s string) {
		b, err := id.Decode(prefix, s)
		second, secondErr := plainDecode(prefix, s)
		if (err == nil) != (secondErr == nil) || err == nil && !bytes.Equal(b[:], second) {
			t.Fatalf("one decoder says %x, %v, the other %x, %v", b, err, second, secondErr)
		}
		if err == nil && id.Encode(prefix, b) != s {
			t.Fatalf("%q has another spelling: %q", s, id.Encode(prefix, b))
		}
	})
}
