package token_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/vault/token"
)

type vector struct {
	Name        string `json:"name"`
	Text        string `json:"text"`
	Format      string `json:"format,omitzero"`
	Environment string `json:"environment,omitzero"`
	Random      string `json:"random,omitzero"` // hexadecimal
	Fails       string `json:"fails,omitzero"`
}

// rules maps the failures that vectors name to how the package's errors put them.
var rules = map[string]string{
	"length": "wrong length", "environment": "environment", "characters": "Crockford", "check": "check characters",
	"format": "no known format", "month": "month", "fifth digit": "fifth", "check digit": "check digit",
}

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

func makeVectors() (all []vector) {
	for i, in := range [][2]string{
		{"p", "00000000000000000000000000000000"},
		{"a", "00000000000000000000000000000000"},
		{"z", "ffffffffffffffffffffffffffffffff"},
		{"t", "000102030405060708090a0b0c0d0e0f"},
	} {
		random, err := hex.DecodeString(in[1])
		if err != nil {
			panic(err)
		}
		body := plainBody(in[0][0], random)
		number := string(rune('1' + i))
		all = append(all,
			vector{Name: "opaque " + number, Text: "sdq_" + body, Format: "opaque", Environment: in[0], Random: in[1]},
			vector{Name: "email " + number, Text: body + "@token.invalid", Format: "email", Environment: in[0], Random: in[1]})
	}
	for _, first11 := range []string{"00137000000", "99999999998", "85138211364", "85499211364", "85497211364"} {
		all = append(all, vector{Name: "iin " + first11, Text: first11 + string(plainCheckDigit(first11)), Format: "iin"})
	}

	random, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f")
	body := plainBody('p', random)
	bad := func(name, fails, text string) { all = append(all, vector{Name: name, Text: text, Fails: fails}) }
	bad("empty", "format", "")
	bad("only a prefix", "length", "sdq_")
	bad("only a suffix", "length", "@token.invalid")
	bad("upper-case prefix", "format", "SDQ_"+body)
	bad("no prefix", "format", body)
	bad("both prefix and suffix", "length", "sdq_"+body+"@token.invalid")
	bad("a character short", "length", "sdq_"+body[:30])
	bad("a character long", "length", "sdq_"+body+"0")
	bad("a line end", "length", "sdq_"+body+"\n")
	bad("a space before", "format", " sdq_"+body)
	bad("environment in upper case", "environment", "sdq_P"+body[1:])
	bad("environment a digit", "environment", "sdq_0"+body[1:])
	bad("another environment", "check", "sdq_t"+body[1:])
	bad("129 bits", "characters", "sdq_p8"+body[2:])
	bad("upper-case body", "characters", "sdq_p"+strings.ToUpper(body[1:]))
	bad("the letter o", "characters", "sdq_"+body[:20]+"o"+body[21:])
	bad("the letter o as check character", "check", "sdq_"+body[:30]+"o")
	bad("a wrong character", "check", "sdq_"+body[:20]+string(alphabet[strings.IndexByte(alphabet, body[20])^1])+body[21:])
	bad("a wrong check character", "check", "sdq_"+body[:30]+string(alphabet[strings.IndexByte(alphabet, body[30])^1]))
	bad("another domain", "format", body+"@token.example")
	bad("upper-case domain", "format", body+"@TOKEN.INVALID")
	bad("eleven digits", "format", "85137211364")
	bad("thirteen digits", "format", "8513821136400")
	bad("full-width digits", "format", "８５１３")
	bad("a letter among digits", "format", "85137211364x")
	bad("a person's IIN", "month", "850312113646")
	bad("a month of 12", "month", "851212113640")
	bad("a month of 00", "month", "850012113640")
	for _, fifth := range "0123456" {
		first11 := "8513" + string(fifth) + "000000"
		bad("a fifth digit of "+string(fifth), "fifth digit", first11+string(plainCheckDigit(first11)))
	}
	bad("a BIN with a month of 13", "fifth digit", "991340000017")
	digit := plainCheckDigit("85137211364")
	bad("another check digit", "check digit", "85137211364"+string('0'+(digit-'0'+1)%10))
	bad("no check digit exists", "check digit", withoutCheckDigit()+"0")
	return all
}

// withoutCheckDigit returns eleven digits that no check digit completes.
func withoutCheckDigit() string {
	for n := range 1_000_000 {
		first11 := []byte("85137000000")
		for i := 10; n > 0; i, n = i-1, n/10 {
			first11[i] += byte(n % 10)
		}
		if plainCheckDigit(string(first11)) == 'x' {
			return string(first11)
		}
	}
	panic("every number has a check digit")
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
	for _, v := range all {
		got, format, err := token.Parse(v.Text)
		_, secondErr := plainParse(v.Text)
		if v.Fails == "" {
			if err != nil || secondErr != nil || string(format) != v.Format || string(got) != v.Text {
				t.Errorf("%s: %s, %s, %v, %v", v.Name, got, format, err, secondErr)
			}
			continue
		}
		if !errors.Is(err, token.ErrMistyped) || !strings.Contains(err.Error(), rules[v.Fails]) || got != "" || format != "" {
			t.Errorf("%s: %s, %s, %v, want %s", v.Name, got, format, err, v.Fails)
		}
		if secondErr == nil || secondErr.Error() != v.Fails {
			t.Errorf("%s: the second decoder says %v, not %s", v.Name, secondErr, v.Fails)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range makeVectors() {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, format, err := token.Parse(s)
		second, secondErr := plainParse(s)
		if (err == nil) != (secondErr == nil) || err == nil && (string(got) != s || string(format) != second) {
			t.Fatalf("%q: one decoder says %s, %v, the other %s, %v", s, format, err, second, secondErr)
		}
	})
}
