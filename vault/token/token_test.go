package token_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/token"
)

func fresh(t testing.TB, f token.Format, env byte) string {
	t.Helper()
	made, err := token.New(f, env)
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

func TestFreshTokensParse(t *testing.T) {
	seen := map[string]bool{}
	lengths := map[token.Format]int{token.Opaque: 35, token.Email: 45, token.IIN: 12}
	for f, length := range lengths {
		for env := byte('a'); env <= 'z'; env++ {
			for range 20 {
				s := fresh(t, f, env)
				got, format, err := token.Parse(s)
				if err != nil || string(got) != s || format != f || len(s) != length || seen[s] {
					t.Fatalf("%s: %s, %s, %v", s, got, format, err)
				}
				if second, err := plainParse(s); err != nil || second != string(f) {
					t.Fatalf("the second decoder reads %s as %s, %v", s, second, err)
				}
				if in, ok := got.Environment(); ok != (f != token.IIN) || ok && in != env {
					t.Fatalf("%s is of environment %q, %t", s, in, ok)
				}
				seen[s] = true
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, env := range []byte{0, 'A', '`', '{', '0', 0xd0} {
		for _, f := range []token.Format{token.Opaque, token.Email, token.IIN} {
			if made, err := token.New(f, env); err == nil || made != "" {
				t.Errorf("environment %q gives %s", env, made)
			}
		}
	}
	for _, f := range []token.Format{"", "OPAQUE", "phone"} {
		if made, err := token.New(f, 'p'); err == nil || made != "" {
			t.Errorf("format %q gives %s", f, made)
		}
	}
}

func TestZeroTokenHasNoEnvironment(t *testing.T) {
	for _, made := range []token.Token{"", "sdq_", "sdq_p", "@token.invalid", "123456789012"} {
		if env, ok := made.Environment(); ok {
			t.Errorf("%q is of environment %q", made, env)
		}
	}
}

// bodies are tokens, and where in them their 31 protected characters begin.
func bodies(t *testing.T) map[string]int {
	all := map[string]int{}
	for _, env := range []byte("apz") {
		all[fresh(t, token.Opaque, env)] = len("sdq_")
		all[fresh(t, token.Email, env)] = 0
	}
	return all
}

func accepted(s string) bool {
	_, _, err := token.Parse(s)
	return err == nil
}

func TestEverySingleErrorIsFound(t *testing.T) {
	for s := range bodies(t) {
		for i := range len(s) {
			for c := range 256 {
				if wrong := s[:i] + string([]byte{byte(c)}) + s[i+1:]; wrong != s && accepted(wrong) {
					t.Fatalf("%s passes for %s", wrong, s)
				}
			}
		}
	}
}

func TestEverySwapIsFound(t *testing.T) {
	for s := range bodies(t) {
		for i := range len(s) {
			for j := range i { // neighbours and all others
				wrong := []byte(s)
				wrong[i], wrong[j] = wrong[j], wrong[i]
				if string(wrong) != s && accepted(string(wrong)) {
					t.Fatalf("%s passes for %s", wrong, s)
				}
			}
		}
	}
}

func TestLostAndDoubledCharactersAreFound(t *testing.T) {
	for s := range bodies(t) {
		for i := range len(s) {
			if accepted(s[:i]+s[i+1:]) || accepted(s[:i]+s[i:i+1]+s[i:]) || accepted(s[:i]) || accepted(s[i+1:]) {
				t.Fatalf("%s passes without, or with twice, the character at %d", s, i)
			}
		}
	}
}

// TestDistance proves what is promised of up to four wrong characters, by exhaustion: all patterns of at most two wrong symbols
// have different syndromes, so no pattern of four, being two of two, has the syndrome of none.
func TestDistance(t *testing.T) {
	seen := map[[4]int]bool{{}: true}
	record := func(body []int) {
		s := syndrome(body)
		if seen[s] {
			t.Fatalf("%v has the syndrome of another pattern", body)
		}
		seen[s] = true
	}
	body := make([]int, 31)
	for i := range body {
		for body[i] = 1; body[i] < 32; body[i]++ {
			record(body)
			for j := range i {
				for body[j] = 1; body[j] < 32; body[j]++ {
					record(body)
				}
				body[j] = 0
			}
		}
		body[i] = 0
	}
	if want := 1 + 31*31 + 31*30/2*31*31; len(seen) != want {
		t.Errorf("%d patterns, want %d", len(seen), want)
	}
}

// TestUpToFourErrorsAreFound samples what TestDistance proves, on the package itself.
func TestUpToFourErrorsAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for s, start := range bodies(t) {
		for range 20_000 {
			wrong := []byte(s)
			for range 1 + random.IntN(4) {
				at := random.IntN(31)
				wrong[start+at] = alphabet[random.IntN(32)]
				if at == 0 {
					wrong[start] = byte('a' + random.IntN(26))
				}
			}
			if string(wrong) != s && accepted(string(wrong)) {
				t.Fatalf("%s passes for %s", wrong, s)
			}
		}
	}
}

func TestIINTokensAreNobodys(t *testing.T) {
	var months [100]int
	var fifths [10]int
	for range 5000 {
		s := fresh(t, token.IIN, 'p')
		months[10*(s[2]-'0')+s[3]-'0']++
		fifths[s[4]-'0']++
		if err := iin.Check(s, iin.Strict); err == nil {
			t.Fatalf("%s is an IIN", s)
		}
	}
	for month, n := range months {
		if (n > 0) != (month >= 13) {
			t.Errorf("month %d was drawn %d times", month, n)
		}
	}
	for digit, n := range fifths {
		if (n > 0) != (digit >= 7) {
			t.Errorf("fifth digit %d was drawn %d times", digit, n)
		}
	}
	for _, somebody := range []string{"850312113646", "990228200904", "911231013646", "991340000017"} {
		if accepted(somebody) {
			t.Errorf("%s passes for a token", somebody)
		}
	}
}

func TestErrorsHoldNoInput(t *testing.T) {
	for _, s := range []string{
		"850312113646", "85031211364", "859912113646", "sdq_850312113646", "850312113646@token.invalid", "sdq_p85031211364685031211364685abcd",
		"aliya.850312113646@example.kz",
	} {
		if _, _, err := token.Parse(s); err == nil || strings.Contains(err.Error(), "8503") || strings.Contains(err.Error(), "8599") {
			t.Errorf("the error is %v", err)
		}
	}
}

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
		if err := os.WriteFile("testdata/vectors.json", made, 0o644); err != nil { //nolint:gosec // published
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

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		fresh(b, token.Opaque, 'p')
	}
}

func BenchmarkParse(b *testing.B) {
	s := fresh(b, token.Opaque, 'p')
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := token.Parse(s); err != nil {
			b.Fatal(err)
		}
	}
}
