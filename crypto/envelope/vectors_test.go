package envelope_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

const vectorsFile = "testdata/vectors.json"

// vector is one published test vector: Fails names the check that refuses it, and is empty for a value that opens.
type vector struct {
	Name      string        `json:"name"`
	Key       string        `json:"key"`
	Context   vectorContext `json:"context"`
	Encoded   string        `json:"encoded_context"`
	Sealed    string        `json:"sealed"`
	Plaintext string        `json:"plaintext"`
	Fails     string        `json:"fails,omitzero"`
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

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeVectors makes the published vectors with the second implementation.
func makeVectors() []vector {
	key := fixed("key", 32)
	var all []vector
	add := func(name, fails string, key []byte, c envelope.Context, plaintext, sealed []byte) {
		all = append(all, vector{
			Name: name, Key: hex.EncodeToString(key), Context: vectorContext(c), Encoded: hex.EncodeToString(plainContext(c)),
			Sealed: hex.EncodeToString(sealed), Plaintext: hex.EncodeToString(plaintext), Fails: fails,
		})
	}
	sealed := func(name string, c envelope.Context, padded []byte) []byte {
		return plainSeal(key, c, fixed(name+" salt", 32), fixed(name+" nonce", 12), padded)
	}
	good := func(name string, c envelope.Context, plaintext []byte) {
		add(name, "", key, c, plaintext, sealed(name, c, plainPad(plaintext)))
	}
	bad := func(name, fails string, change func([]byte) []byte) {
		whole := sealed(name, field, plainPad([]byte("850312113646")))
		add(name, fails, key, field, nil, change(whole))
	}
	badPadding := func(name string, padded []byte) {
		add(name, "padding", key, field, nil, sealed(name, field, padded))
	}
	elsewhere := func(name string, key []byte, c envelope.Context) {
		add(name, "commitment", key, c, nil, sealed(name, field, plainPad([]byte("850312113646"))))
	}

	good("an IIN", field, []byte("850312113646"))
	good("empty", field, nil)
	good("Kazakh", field, []byte("Әлия Қасымқызы"))
	for _, n := range []int{13, 28, 29, 4092, 4093} {
		good(strconv.Itoa(n)+" bytes", field, fixed("text", n))
	}
	good("only a kind", envelope.Context{Kind: "note"}, []byte("x"))
	good("highest version", envelope.Context{Kind: "document-key", Tenant: "т", Subject: "s", Name: "n", Version: 1<<64 - 1}, fixed("file key", 16))

	bad("empty input", "size", func([]byte) []byte { return nil })
	bad("one byte short of the shortest", "size", func(b []byte) []byte { return b[:len(b)-1] })
	bad("version 0", "version", func(b []byte) []byte { b[0] = 0; return b })
	bad("version 2", "version", func(b []byte) []byte { b[0] = 2; return b })
	bad("another salt", "commitment", func(b []byte) []byte { b[1] ^= 1; return b })
	bad("another commitment", "commitment", func(b []byte) []byte { b[64] ^= 0x80; return b })
	bad("another nonce", "tag", func(b []byte) []byte { b[65] ^= 1; return b })
	bad("another ciphertext", "tag", func(b []byte) []byte { b[77] ^= 1; return b })
	bad("another tag", "tag", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	bad("trailing byte", "tag", func(b []byte) []byte { return append(b, 0) })

	add("padded to 8", "size", key, field, nil, sealed("padded to 8", field, make([]byte, 8)))
	badPadding("length beyond the end", append([]byte{0, 0, 0, 13}, make([]byte, 12)...))
	badPadding("length of 4 GiB", append([]byte{255, 255, 255, 255}, make([]byte, 12)...))
	badPadding("padding not zero", append([]byte{0, 0, 0, 11}, "85031211364\x01"...))
	badPadding("padded too far", append([]byte{0, 0, 0, 12}, append([]byte("850312113646"), make([]byte, 16)...)...))
	badPadding("padded to no step", append([]byte{0, 0, 0, 13}, append([]byte("8503121136460"), make([]byte, 3)...)...))
	badPadding("Padmé below 4,096", append([]byte{0, 0, 0, 60}, make([]byte, 68)...))

	other := field
	other.Subject = "sub_8"
	elsewhere("another subject", key, other)
	other = field
	other.Version = 4
	elsewhere("another version", key, other)
	elsewhere("another key", fixed("another key", 32), field)
	return all
}

func TestVectorsAreReproducible(t *testing.T) {
	made, err := json.Marshal(makeVectors(), jsontext.WithIndent("  "), json.Deterministic(true))
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

func TestVectors(t *testing.T) {
	failures := map[string]bool{}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			c := envelope.Context(v.Context)
			key, sealed, want := unhex(t, v.Key), unhex(t, v.Sealed), unhex(t, v.Plaintext)
			if !slices.Equal(plainContext(c), unhex(t, v.Encoded)) {
				t.Error("the second implementation encodes the context differently")
			}
			second, secondErr := plainOpen(key, c, sealed)
			first, err := envelope.Open(secret.New(key), c, sealed)
			if v.Fails != "" {
				failures[v.Fails] = true
				if err != envelope.ErrOpen || first != nil { //nolint:errorlint // the error itself
					t.Errorf("opened to %d bytes, %v", len(first), err)
				}
				if secondErr == nil || secondErr.Error() != v.Fails {
					t.Errorf("the second decoder fails with %v, not %s", secondErr, v.Fails)
				}
				return
			}
			if err != nil || !bytes.Equal(first, want) {
				t.Errorf("opened to %d bytes, %v", len(first), err)
			}
			if secondErr != nil || !bytes.Equal(second, want) {
				t.Errorf("the second decoder opened %d bytes, %v", len(second), secondErr)
			}
		})
	}
	for _, err := range []error{errSize, errVersion, errCommitment, errTag, errPadding} {
		if !failures[err.Error()] {
			t.Errorf("no vector fails at %v", err)
		}
	}
}
