package authn_test

import (
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/id"
)

// The service token of the bytes 0 to 47, and what it means; made by another program.
const (
	known           = "sst_00041061050r3gg28a1c60t3gf" + "0g2491650n2rbhg68t3ce1t7gz" + "1044h269154rkjga9a5cp2tbhf"
	knownCredential = "000102030405060708090a0b0c0d0e0f"
	knownDigest     = "89c7460452eddff119fea0419e785c74de2ffb139dbe74323aca4a01e198a5dc"
)

// wellFormed is the format as docs/formats.md has it.
var wellFormed = regexp.MustCompile(`^sst_([0-7][0-9a-hjkmnp-tv-z]{25}){3}$`)

func TestKnownToken(t *testing.T) {
	credential, proof, err := authn.ParseServiceToken(known)
	if err != nil || hex.EncodeToString(credential[:]) != knownCredential || hex.EncodeToString(proof.Digest()) != knownDigest {
		t.Errorf("%x, %x, %v", credential, proof.Digest(), err)
	}
}

func TestRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		text, credential, proof := authn.NewServiceToken()
		again, shown, err := authn.ParseServiceToken(text)
		if err != nil || again != credential || !shown.Matches(proof.Digest()) {
			t.Fatalf("another credential or proof is read: %v", err)
		}
		for _, drawn := range []string{text, string(credential[:]), string(proof.Digest())} {
			if seen[drawn] {
				t.Fatal("drawn twice")
			}
			seen[drawn] = true
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"a prefix alone":  "sst_",
		"another prefix":  "sdq_" + known[4:],
		"no prefix":       known[4:],
		"upper case":      strings.ToUpper(known),
		"one too few":     known[:len(known)-1],
		"one too many":    known + "0",
		"a space before":  " " + known[:len(known)-1],
		"a line feed":     known[:len(known)-1] + "\n",
		"out of range":    "sst_8" + known[5:],
		"proof's range":   known[:30] + "8" + known[31:],
		"no base32 digit": known[:40] + "u" + known[41:],
		"an alias":        known[:40] + "o" + known[41:],
		"not ASCII":       known[:40] + "ә" + known[42:],
	} {
		credential, proof, err := authn.ParseServiceToken(text)
		if !errors.Is(err, authn.ErrMalformed) || err.Error() != authn.ErrMalformed.Error() {
			t.Errorf("%s: %v", name, err)
		}
		if credential != [16]byte{} || proof != (authn.Proof{}) {
			t.Errorf("%s: something is read of it", name)
		}
	}
}

// TestOneCharacterChanged: whatever other character stands in whatever place, the token is not the one it was.
func TestOneCharacterChanged(t *testing.T) {
	credential, proof, err := authn.ParseServiceToken(known)
	if err != nil {
		t.Fatal(err)
	}
	for at := range known {
		for c := range 256 {
			if byte(c) == known[at] {
				continue
			}
			changed := known[:at] + string([]byte{byte(c)}) + known[at+1:]
			other, shown, err := authn.ParseServiceToken(changed)
			if err == nil && other == credential && shown.Matches(proof.Digest()) {
				t.Fatalf("character %d may be %#02x as well", at, c)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	_, _, proof := authn.NewServiceToken()
	digest := proof.Digest()
	for bit := range 8 * len(digest) {
		other := append([]byte(nil), digest...)
		other[bit/8] ^= 1 << (bit % 8)
		if proof.Matches(other) {
			t.Fatalf("it matches with bit %d flipped", bit)
		}
	}
	for name, other := range map[string][]byte{
		"nothing": nil, "the beginning": digest[:31], "more": append(append([]byte(nil), digest...), 0), "zeros": make([]byte, 32),
	} {
		if proof.Matches(other) {
			t.Errorf("%s matches", name)
		}
	}
	if !proof.Matches(digest) {
		t.Error("its own digest does not match")
	}
}

// TestMatchesTakesConstantTime: how long it takes cannot be held still in a test, so this holds the code: the one thing
// that Matches does is the comparison of crypto/subtle.
func TestMatchesTakesConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "servicetoken.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Matches" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok {
					calls = append(calls, s.X.(*ast.Ident).Name+"."+s.Sel.Name)
				} else {
					calls = append(calls, "another")
				}
			}
			return true
		})
		if len(f.Body.List) != 1 {
			t.Errorf("Matches has %d statements", len(f.Body.List))
		}
	}
	if len(calls) != 1 || calls[0] != "subtle.ConstantTimeCompare" {
		t.Errorf("Matches calls %v", calls)
	}
}

func FuzzParseServiceToken(f *testing.F) {
	f.Add(known)
	f.Add("sst_")
	f.Add("sst_7" + strings.Repeat("z", 77))
	f.Add(strings.ToUpper(known))
	f.Fuzz(func(t *testing.T, text string) {
		credential, proof, err := authn.ParseServiceToken(text)
		if (err == nil) != wellFormed.MatchString(text) {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		if id.Encode("sst_", credential) != text[:4+id.Length] {
			t.Fatalf("%q names the credential %x", text, credential)
		}
		if len(proof.Digest()) != 32 {
			t.Fatalf("a digest of %d bytes", len(proof.Digest()))
		}
	})
}
