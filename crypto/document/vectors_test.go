package document_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/envelope"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

const vectorsFile = "testdata/vectors.json"

// vector is one published test vector: Fails names the check that refuses it, and is empty for a document that opens.
type vector struct {
	Name    string        `json:"name"`
	Key     string        `json:"key"` // hexadecimal
	Context vectorContext `json:"context"`
	Size    int           `json:"plaintext_size"`
	SHA256  string        `json:"plaintext_sha256,omitzero"` // hexadecimal
	File    string        `json:"file"`                      // base64
	Fails   string        `json:"fails,omitzero"`
}

type vectorContext struct {
	Kind    string `json:"kind"`
	Tenant  string `json:"tenant"`
	Subject string `json:"subject"`
	Name    string `json:"name"`
	Version uint64 `json:"version,string"`
}

// fixed returns n bytes that depend on a label only: vectors are the same wherever they are made.
func fixed(label string, n int) []byte {
	sum := sha256.Sum256([]byte("sandyq vectors: " + label))
	return bytes.Repeat(sum[:], n/32+1)[:n]
}

// recipe is how the second implementation makes a vector's file; a bad one departs from the format in one place.
type recipe struct {
	name, fails string
	size        int
	stanza      string // type and arguments
	fileKey     []byte
	key         []byte                // to open with
	context     envelope.Context      // to open in
	header      func(string) string   // changes the header before it is authenticated
	padded      func([]byte) []byte   // changes the padded plaintext
	file        func(f []byte) []byte // changes the finished file
}

func recipes() []recipe {
	extraStanza := "-> x-grease\nAAAA\n"
	otherSubject, otherVersion := passport, passport
	otherSubject.Subject, otherVersion.Version = "sub_8", 4
	return []recipe{
		{name: "empty", size: 0},
		{name: "one byte", size: 1},
		{name: "the smallest padded length", size: 4096},
		{name: "two chunks", size: 65_537},
		{name: "cut by a byte", fails: "size", file: func(f []byte) []byte { return f[:len(f)-1] }},
		{name: "extended by a byte", fails: "size", file: func(f []byte) []byte { return append(f, 0) }},
		{name: "nothing", fails: "size", file: func([]byte) []byte { return nil }},
		{name: "padded further", fails: "size", padded: func(p []byte) []byte { return append(p, make([]byte, 256)...) }},
		{name: "another age version", fails: "header", header: func(h string) string { return strings.Replace(h, "org/v1", "org/v2", 1) }},
		{name: "another stanza type", fails: "header", stanza: "github.com/sandyq/sandyq/document/2"},
		{name: "a stanza argument", fails: "header", stanza: "github.com/sandyq/sandyq/document 1"},
		{name: "a stanza before, the payload shortened to fit", fails: "header",
			header: func(h string) string { return strings.Replace(h, "-> github", extraStanza+"-> github", 1) },
			padded: func(p []byte) []byte { return p[:len(p)-len(extraStanza)] }},
		{name: "a stanza after, the payload shortened to fit", fails: "header",
			header: func(h string) string { return strings.Replace(h, "---", extraStanza+"---", 1) },
			padded: func(p []byte) []byte { return p[:len(p)-len(extraStanza)] }},
		{name: "a stanza argument, the payload shortened to fit", fails: "header", stanza: "github.com/sandyq/sandyq/document/1 x",
			padded: func(p []byte) []byte { return p[:len(p)-len(" x")] }},
		{name: "carriage return in the header", fails: "header", header: func(h string) string { return strings.Replace(h, "1\n->", "1\r->", 1) }},
		{name: "unused bits of the body set", fails: "header", header: func(h string) string {
			end := strings.Index(h, "\n---")
			return h[:end-1] + string(h[end-1]+1) + h[end:]
		}},
		{name: "a file key of 17 bytes", fails: "file key", fileKey: fixed("long file key", 17)},
		{name: "another key", fails: "file key", key: fixed("another key", 32)},
		{name: "another subject", fails: "file key", context: otherSubject},
		{name: "another version", fails: "file key", context: otherVersion},
		{name: "another header MAC", fails: "header MAC", file: func(f []byte) []byte {
			at := bytes.Index(f, []byte("--- ")) + 4
			f[at] = map[bool]byte{true: 'B', false: 'A'}[f[at] == 'A']
			return f
		}},
		{name: "another payload nonce", fails: "payload", file: func(f []byte) []byte { f[300] ^= 1; return f }},
		{name: "another last byte", fails: "payload", file: func(f []byte) []byte { f[len(f)-1] ^= 1; return f }},
	}
}

func (r recipe) make() vector {
	key := fixed("key", 32)
	if r.stanza == "" {
		r.stanza = "github.com/sandyq/sandyq/document/1"
	}
	if r.fileKey == nil {
		r.fileKey = fixed(r.name+" file key", 16)
	}
	if r.key == nil {
		r.key = key
	}
	if r.context == (envelope.Context{}) {
		r.context = passport
	}
	if r.fails != "" && r.size == 0 {
		r.size = 10
	}
	plaintext := fixed("text", r.size)
	padded := append(plaintext, make([]byte, plainPaddedSize(r.size)-r.size)...)
	header := plainHeader(r.stanza, plainWrap(key, passport, fixed(r.name+" salt", 32), fixed(r.name+" nonce", 12), r.fileKey))
	if r.header != nil {
		header = r.header(header)
	}
	if r.padded != nil {
		padded = r.padded(padded)
	}
	file := plainEncrypt(header, r.fileKey, fixed(r.name+" payload nonce", 16), padded)
	if r.file != nil {
		file = r.file(file)
	}
	v := vector{
		Name: r.name, Key: hex.EncodeToString(r.key), Context: vectorContext(r.context), Size: r.size,
		File: base64.StdEncoding.EncodeToString(file), Fails: r.fails,
	}
	if r.fails == "" {
		sum := sha256.Sum256(fixed("text", r.size))
		v.SHA256 = hex.EncodeToString(sum[:])
	}
	return v
}

func TestVectorsAreReproducible(t *testing.T) {
	var all []vector
	for _, r := range recipes() {
		all = append(all, r.make())
	}
	made, err := json.Marshal(all, jsontext.WithIndent("  "))
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	published, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, published) {
		t.Error("the published vectors are not those the second implementation makes")
	}
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	return all
}

func (v vector) parts(t testing.TB) (key, file []byte) {
	t.Helper()
	key, err := hex.DecodeString(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	file, err = base64.StdEncoding.DecodeString(v.File)
	if err != nil {
		t.Fatal(err)
	}
	return key, file
}

// openAndRead is both halves of opening, for what is found only when read.
func openAndRead(key []byte, c envelope.Context, file []byte, size int) ([]byte, error) {
	r, err := open(key, c, file, size)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, size)
	if n, err := r.ReadAt(plaintext, 0); n < size {
		return nil, err
	}
	return plaintext, nil
}

func TestVectors(t *testing.T) {
	failures := map[string]bool{}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			key, file := v.parts(t)
			first, err := openAndRead(key, envelope.Context(v.Context), file, v.Size)
			second, secondErr := plainOpen(key, envelope.Context(v.Context), file, v.Size)
			if v.Fails != "" {
				failures[v.Fails] = true
				if !errors.Is(err, document.ErrOpen) {
					t.Errorf("opened: %v", err)
				}
				if secondErr == nil || secondErr.Error() != v.Fails {
					t.Errorf("the second decoder fails with %v, not %s", secondErr, v.Fails)
				}
				return
			}
			for who, got := range map[string][]byte{"the package": first, "the second decoder": second} {
				sum := sha256.Sum256(got)
				if hex.EncodeToString(sum[:]) != v.SHA256 || len(got) != v.Size {
					t.Errorf("%s reads %d other bytes (%v, %v)", who, len(got), err, secondErr)
				}
			}
		})
	}
	for _, err := range []error{errSize, errHeader, errFileKey, errMAC, errPayload} {
		if !failures[err.Error()] {
			t.Errorf("no vector fails at %v", err)
		}
	}
}

// FuzzOpen gives Open arbitrary files: the two decoders agree on all of them.
func FuzzOpen(f *testing.F) {
	for _, v := range readVectors(f) {
		if _, file := v.parts(f); len(file) < 10_000 {
			f.Add(file, v.Size)
		}
	}
	key := fixed("key", 32)
	f.Fuzz(func(t *testing.T, file []byte, size int) {
		first, err := openAndRead(key, passport, file, size)
		if err != nil && !errors.Is(err, document.ErrOpen) {
			t.Fatalf("another error: %v", err)
		}
		second, secondErr := plainOpen(key, passport, file, size)
		if (err == nil) != (secondErr == nil) || !bytes.Equal(first, second) {
			t.Fatalf("one decoder says %v, the other %v", err, secondErr)
		}
	})
}

// FuzzOpenHeader puts arbitrary text, properly authenticated, where the header is: none but ours opens.
func FuzzOpenHeader(f *testing.F) {
	fileKey := fixed("file key", 16)
	ours := plainHeader("github.com/sandyq/sandyq/document/1", plainWrap(fixed("key", 32), passport, fixed("salt", 32), fixed("nonce", 12), fileKey))
	f.Add(ours)
	for _, r := range recipes() {
		if r.header != nil {
			f.Add(r.header(ours))
		}
	}
	f.Fuzz(func(t *testing.T, header string) {
		padded := make([]byte, max(0, 4096+len(ours)-len(header)))
		file := plainEncrypt(header, fileKey, fixed("payload nonce", 16), padded)
		_, err := openAndRead(fixed("key", 32), passport, file, 10)
		if opens := err == nil; opens != (header == ours) {
			t.Fatalf("a header of %q: %v", header, err)
		}
	})
}
