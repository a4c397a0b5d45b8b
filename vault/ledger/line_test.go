package ledger_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/ledger"
)

// signer signs with the key whose seed is all zeros.
type signer struct{}

var private = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func (signer) Key() checkpoint.Key {
	return checkpoint.Key{Name: "test", Public: private.Public().(ed25519.PublicKey)}
}

func (signer) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(private, msg), nil
}

// rotating signs with another key than it named.
type rotating struct{ signer }

func (rotating) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)), msg), nil
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 5e6, time.UTC)

const (
	public = `O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=`

	wantHeader = `{"v":1,"ledger":"01000000000000000000000000000000","tenant":"acme","at":"2026-11-22T12:00:00.005Z","key":"` + public + `","sig":"`
	wantEntry  = `{"v":1,"n":1,"prev":"%x","at":"2026-11-22T12:00:00.005Z","kind":"subject","ref":"ers_1","subject":"sub_1",` +
		`"keys":["02000000000000000000000000000000","03000000000000000000000000000000"],"slices":["documents","identity"],` +
		`"log":{"origin":"sandyq.example/acme","root":"0400000000000000000000000000000000000000000000000000000000000000","size":7},` +
		`"key":"` + public + `","sig":"`
)

var entry = ledger.Entry{
	At: noon, Kind: ledger.Subject, Ref: "ers_1", Subject: "sub_1", Keys: []kms.ID{{2}, {3}}, Slices: []string{"documents", "identity"},
	Log: ledger.Position{Origin: "sandyq.example/acme", Size: 7, Root: [32]byte{4}},
}

func header(t testing.TB) []byte {
	t.Helper()
	line, err := ledger.SealHeader(t.Context(), signer{}, ledger.Header{ID: [16]byte{1}, Tenant: "acme", At: noon})
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func first(t testing.TB) []byte {
	t.Helper()
	line, err := ledger.Seal(t.Context(), signer{}, ledger.Head{Hash: sha256.Sum256(header(t))}, entry)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// The lines are what docs/formats.md says, byte by byte.
func TestLinesAreAsDocumented(t *testing.T) {
	for name, c := range map[string]struct {
		line         []byte
		text, domain string
	}{
		"header": {header(t), wantHeader, "sandyq/ledger/1 header\n"},
		"entry":  {first(t), fmt.Sprintf(wantEntry, sha256.Sum256(header(t))), "sandyq/ledger/1 entry\n"},
	} {
		rest, ok := strings.CutPrefix(string(c.line), c.text)
		if !ok {
			t.Errorf("%s = %s\nwant it to begin %s", name, c.line, c.text)
			continue
		}
		signed := strings.TrimSuffix(c.text, `,"sig":"`)
		if want := fmt.Sprintf("%s\"}", base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(c.domain+signed)))); rest != want {
			t.Errorf("%s ends %s, want %s", name, rest, want)
		}
	}
	s, err := ledger.Parse(first(t))
	want := entry
	want.Number = 1
	if err != nil || !reflect.DeepEqual(s.Entry, want) || s.Prev != sha256.Sum256(header(t)) || s.Hash != sha256.Sum256(first(t)) {
		t.Errorf("Parse = %+v, %v; want %+v", s, err, want)
	}
	h, err := ledger.ParseHeader(header(t))
	if err != nil || h.Header != (ledger.Header{ID: [16]byte{1}, Tenant: "acme", At: noon}) {
		t.Errorf("ParseHeader = %+v, %v", h, err)
	}
}

func TestASignatureOfAnotherKeyIsNotWritten(t *testing.T) {
	if line, err := ledger.Seal(t.Context(), rotating{}, ledger.Head{}, entry); err == nil {
		t.Errorf("Seal = %s", line)
	}
}

// What the writer would not have written is refused, though it says the same.
func TestLinesHaveOneForm(t *testing.T) {
	line := string(first(t))
	for what, replace := range map[string][2]string{
		"a space":              {`,"n"`, `, "n"`},
		"another order":        {`"v":1,"n":1`, `"n":1,"v":1`},
		"another version":      {`"v":1`, `"v":2`},
		"number zero":          {`"n":1`, `"n":0`},
		"a number as text":     {`"n":1`, `"n":"1"`},
		"upper case":           {`"0200`, `"02AA`},
		"keys not in order":    {`"02000`, `"05000`},
		"a key twice":          {`"02000`, `"03000`},
		"a short key":          {`"02000`, `"0200`},
		"slices not in order":  {`"documents"`, `"jdentity"`},
		"an empty member":      {`"subject":"sub_1"`, `"subject":""`},
		"no subject":           {`"subject":"sub_1",`, ``},
		"null":                 {`"subject":"sub_1"`, `"subject":null`},
		"an escape":            {`sub_1`, `sub\u005f1`},
		"another time zone":    {`.005Z`, `.005+00:00`},
		"no milliseconds":      {`.005Z`, `Z`},
		"a day that is not":    {`11-22`, `11-31`},
		"a member twice":       {`"n":1`, `"n":1,"n":1`},
		"another kind":         {`"kind":"subject"`, `"kind":"person"`},
		"a log of nothing":     {`"size":7`, `"size":-7`},
		"base64 without a pad": {`2ik=`, `2ik`},
		"base64 with more":     {`2ik=`, `2il=`},
		"more after it":        {`"}`, `"} `},
	} {
		changed := strings.Replace(line, replace[0], replace[1], 1)
		if changed == line {
			t.Fatalf("%s: nothing was changed", what)
		}
		if _, err := ledger.Parse([]byte(changed)); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: Parse = %v, want ErrDamaged", what, err)
		}
	}
}

// Errors say what to do and quote no line.
func TestErrorsQuoteNothing(t *testing.T) {
	_, err := ledger.Parse(bytes.Replace(first(t), []byte("sub_1"), []byte("private person"), 1))
	if err == nil || strings.Contains(err.Error(), "private") {
		t.Errorf("Parse = %v", err)
	}
	for _, err := range []error{ledger.ErrMissing, ledger.ErrTruncated, ledger.ErrDamaged, ledger.ErrForged} {
		if !strings.Contains(err.Error(), "docs/ledger.md") {
			t.Errorf("%v names no page", err)
		}
	}
}

// Every proper beginning of the next line is torn, and so is one with zeros behind it; of whole lines, none is.
func TestTorn(t *testing.T) {
	after := ledger.Head{Hash: sha256.Sum256(header(t))}
	line := first(t)
	for n := 1; n < len(line); n++ {
		for _, tail := range [][]byte{line[:n], append(bytes.Clone(line[:n]), 0, 0, 0)} {
			if !ledger.Torn(tail, after) || ledger.Whole(tail) {
				t.Fatalf("%q is not torn", tail)
			}
		}
	}
	if ledger.Torn(line, after) || !ledger.Whole(line) || !ledger.Whole(header(t)) {
		t.Error("a whole line is torn")
	}
	for _, after := range []ledger.Head{{Entries: 1, Hash: after.Hash}, {Hash: [32]byte{1}}} {
		if ledger.Torn(line[:120], after) {
			t.Error("the beginning of another line is taken for the next one's")
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header(f))
	f.Add(first(f))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := ledger.Parse(line)
		if err != nil {
			return
		}
		// What is parsed can be written, and differs in key and signature alone.
		again, err := ledger.Seal(t.Context(), signer{}, ledger.Head{Entries: s.Entry.Number - 1, Hash: s.Prev}, s.Entry)
		if err != nil {
			t.Fatalf("what was parsed is not written: %v", err)
		}
		cut := func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte(`,"key":"`))] }
		if !bytes.Equal(cut(line), cut(again)) {
			t.Fatalf("%s became %s", line, again)
		}
	})
}
