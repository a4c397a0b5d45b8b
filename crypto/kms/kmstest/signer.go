package kmstest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
)

// publicKeys checks that there are n.
func publicKeys(t *testing.T, p kms.Provider, n int) []ed25519.PublicKey {
	t.Helper()
	public, err := p.PublicKeys(bounded(t))
	if err != nil {
		t.Fatalf("public keys: %v", err)
	}
	if len(public) != n {
		t.Fatalf("%d public keys, want %d", len(public), n)
	}
	for i, key := range public {
		if len(key) != ed25519.PublicKeySize {
			t.Fatalf("the public key of version %d has %d bytes", i+1, len(key))
		}
		if slices.ContainsFunc(public[:i], func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			t.Fatalf("version %d has the key of an earlier one", i+1)
		}
	}
	return public
}

// wantSigns checks that each version signs with its own key, and signs the message whole.
func wantSigns(t *testing.T, p kms.Provider, public []ed25519.PublicKey) {
	t.Helper()
	long := bytes.Repeat([]byte{0xff, 0}, 4<<10)
	for i, key := range public {
		for _, message := range [][]byte{nil, {0}, []byte("message"), long, long[:len(long)-1]} {
			signature, err := p.SignAs(bounded(t), i+1, message)
			if err != nil {
				t.Fatalf("sign %d bytes as version %d: %v", len(message), i+1, err)
			}
			if !ed25519.Verify(key, message, signature) {
				t.Errorf("the signature of %d bytes is not of version %d", len(message), i+1)
			}
		}
	}
}

func same(a, b ed25519.PublicKey) bool { return a.Equal(b) }

func rotate(t *testing.T, p kms.Provider, want int) {
	t.Helper()
	version, err := p.RotateSigning(bounded(t))
	if err != nil || version != want {
		t.Fatalf("rotate: version %d, want %d (%v)", version, want, err)
	}
}

func sign(t *testing.T, o Opener) {
	p := open(t, o)
	wantSigns(t, p, publicKeys(t, p, 1))
}

// signFirst signs before anybody has asked for a public key.
func signFirst(t *testing.T, o Opener) {
	p := open(t, o)
	signature, err := p.SignAs(bounded(t), 1, []byte("message"))
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	if !ed25519.Verify(publicKeys(t, p, 1)[0], []byte("message"), signature) {
		t.Error("the first signature is not of version 1")
	}
}

func signVersions(t *testing.T, o Opener) {
	p := open(t, o)
	before := publicKeys(t, p, 1)
	rotate(t, p, 2)
	rotate(t, p, 3)
	public := publicKeys(t, p, 3)
	if !public[0].Equal(before[0]) {
		t.Error("rotating changed version 1")
	}
	wantSigns(t, p, public)
	for _, version := range []int{-1, 0, 4, 1 << 40} {
		if _, err := p.SignAs(bounded(t), version, []byte("message")); !errors.Is(err, kms.ErrVersion) {
			t.Errorf("sign as version %d of 3: %v, want ErrVersion", version, err)
		}
	}
	publicKeys(t, p, 3)
}

// signFirstRace has two processes meet the first need of a key at the same moment.
func signFirstRace(t *testing.T, o Opener) {
	providers := []kms.Provider{open(t, o), open(t, o)}
	next := make(chan kms.Provider, 16)
	for i := range 16 {
		next <- providers[i%2]
	}
	signatures, errs := race(16, func() ([]byte, error) { return (<-next).SignAs(bounded(t), 1, []byte("message")) })
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("sign sixteen times at once: %v", err)
	}
	for _, p := range providers {
		key := publicKeys(t, p, 1)[0]
		for i, signature := range signatures {
			if !ed25519.Verify(key, []byte("message"), signature) {
				t.Errorf("signature %d is of another key", i)
			}
		}
	}
}

func rotateRace(t *testing.T, o Opener) {
	a, b := open(t, o), open(t, o)
	providers := make(chan kms.Provider, 8)
	for i := range 8 {
		providers <- []kms.Provider{a, b}[i%2]
	}
	versions, errs := race(8, func() (int, error) { return (<-providers).RotateSigning(bounded(t)) })
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("rotate eight times at once: %v", err)
	}
	slices.Sort(versions)
	if !slices.Equal(versions, []int{2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("eight rotations made the versions %v", versions)
	}
	public := publicKeys(t, a, 9)
	if !slices.EqualFunc(public, publicKeys(t, b, 9), same) {
		t.Error("two processes tell different public keys")
	}
	wantSigns(t, b, public)
}

func signReopen(t *testing.T, o Opener) {
	first := o(t)
	rotate(t, first, 2)
	public := publicKeys(t, first, 2)
	if err := first.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	second := open(t, o)
	if !slices.EqualFunc(public, publicKeys(t, second, 2), same) {
		t.Error("the signing keys changed over a reopen")
	}
	wantSigns(t, second, public)
	rotate(t, second, 3)
}

func signOther(t *testing.T, a, b Opener) {
	if publicKeys(t, open(t, a), 1)[0].Equal(publicKeys(t, open(t, b), 1)[0]) {
		t.Error("two set-ups have the same signing key")
	}
}
