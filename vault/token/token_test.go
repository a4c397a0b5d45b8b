package token_test

import (
	"math/rand/v2"
	"strings"
	"testing"

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
