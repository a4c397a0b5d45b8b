package local

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

func FuzzParseKeyring(f *testing.F) {
	for _, k := range []kind{kindPassphrase, kindKeyFile} {
		f.Add(append(newParameters(k).encode(), make([]byte, keyringFileSize-parametersSize)...))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseKeyring(b)
		if err != nil {
			if !errors.Is(err, kms.ErrCorrupt) {
				t.Fatalf("refused with %v, want ErrCorrupt", err)
			}
			return
		}
		if again := append(file.parameters.encode(), file.sealed...); !bytes.Equal(again, b) {
			t.Fatalf("parses %x and writes %x", b, again)
		}
	})
}

func FuzzParseKeyFile(f *testing.F) {
	f.Add([]byte(keyFilePrefix + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKeyFile(slices.Clone(text))
		if err != nil {
			return
		}
		if again := keyFilePrefix + hex.EncodeToString(key.Expose()) + "\n"; again != string(text) {
			t.Fatalf("parses %q and would write %q", text, again)
		}
	})
}

func TestParameterBounds(t *testing.T) {
	good := newParameters(kindPassphrase)
	for name, change := range map[string]func(*parameters){
		"no passes":        func(p *parameters) { p.time = 0 },
		"too many passes":  func(p *parameters) { p.time = 17 },
		"little memory":    func(p *parameters) { p.memory = 19<<10 - 1 },
		"too much memory":  func(p *parameters) { p.memory = 1<<20 + 1 },
		"no lanes":         func(p *parameters) { p.threads = 0 },
		"too many lanes":   func(p *parameters) { p.threads = 17 },
		"unknown kind":     func(p *parameters) { p.kind = 3 },
		"key file's kind":  func(p *parameters) { p.kind = kindKeyFile },
		"no kind":          func(p *parameters) { p.kind = 0 },
		"enormous request": func(p *parameters) { p.memory = 1<<32 - 1 },
	} {
		p := good
		change(&p)
		if _, err := parseKeyring(append(p.encode(), make([]byte, keyringFileSize-parametersSize)...)); !errors.Is(err, kms.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

// TestVectors opens files written by version 1 of the format.
func TestVectors(t *testing.T) {
	file, err := parseKeyring(unhex(t, vectorKeyring))
	if err != nil {
		t.Fatal(err)
	}
	root, err := Passphrase(secret.New([]byte("correct horse battery staple"))).root(file.parameters)
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.open(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(c.sentinel[:]); got != vectorSentinel {
		t.Errorf("sentinel %s, want %s", got, vectorSentinel)
	}
	id, err := kms.ParseID(vectorID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := openEntry(c.master, keyContext(id), unhex(t, vectorEntry))
	if err != nil || hex.EncodeToString(key) != vectorKey {
		t.Errorf("key %x, want %s (%v)", key, vectorKey, err)
	}
	instance, err := openEntry(c.master, generationContext(1), unhex(t, vectorGeneration))
	if err != nil || hex.EncodeToString(instance) != vectorID {
		t.Errorf("instance %x, want %s (%v)", instance, vectorID, err)
	}
	if _, err := openEntry(c.master, generationContext(2), unhex(t, vectorGeneration)); !errors.Is(err, kms.ErrCorrupt) {
		t.Errorf("generation 1 opens as 2 (%v)", err)
	}
	seed, err := openEntry(c.master, signingContext(2), unhex(t, vectorSigning))
	if err != nil || hex.EncodeToString(seed) != vectorKey {
		t.Errorf("seed %x, want %s (%v)", seed, vectorKey, err)
	}
	if _, err := openEntry(c.master, signingContext(1), unhex(t, vectorSigning)); !errors.Is(err, kms.ErrCorrupt) {
		t.Errorf("version 2 of the signing key opens as 1 (%v)", err)
	}
	mark, err := openEntry(c.master, markContext(), unhex(t, vectorMark))
	if err != nil || hex.EncodeToString(mark) != "0000000000000009"+vectorKey {
		t.Errorf("mark %x, want 9 entries (%v)", mark, err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
