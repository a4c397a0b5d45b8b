package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/sandyq/sandyq/vault/id"
)

const (
	servicePrefix = "sst_"
	serviceLength = len(servicePrefix) + 3*id.Length
)

// ErrMalformed reports a text that is not a service token. It does not tell the text.
var ErrMalformed = errors.New("authn: not a service token")

// A service token is sst_ and 78 characters of lower-case Crockford base32: 128 bits that name the credential and 256
// random bits that prove it. The vault keeps the SHA-256 of the proof, which needs no salt and no stretching because the
// proof cannot be guessed.

// Proof is the secret part of a service token. It does not print.
type Proof struct{ sum [sha256.Size]byte }

// Digest is what is stored of a proof.
func (p Proof) Digest() []byte { return p.sum[:] }

// Matches reports, in constant time, whether digest is of this proof.
func (p Proof) Matches(digest []byte) bool { return subtle.ConstantTimeCompare(p.sum[:], digest) == 1 }

// NewServiceToken draws a service token. The text is shown once and kept nowhere.
func NewServiceToken() (text string, credential [16]byte, proof Proof) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	credential = id.New()
	text = id.Encode(servicePrefix, credential) + id.Encode("", [16]byte(secret[:16])) + id.Encode("", [16]byte(secret[16:]))
	return text, credential, Proof{sha256.Sum256(secret[:])}
}

// ParseServiceToken takes a service token apart.
func ParseServiceToken(text string) (credential [16]byte, proof Proof, err error) {
	if len(text) != serviceLength {
		return credential, proof, ErrMalformed
	}
	parts := [3][16]byte{}
	rest := text[len(servicePrefix):]
	if text[:len(servicePrefix)] != servicePrefix {
		return credential, proof, ErrMalformed
	}
	for i := range parts {
		if parts[i], err = id.Decode("", rest[i*id.Length:(i+1)*id.Length]); err != nil {
			return credential, proof, ErrMalformed
		}
	}
	secret := append(parts[1][:], parts[2][:]...)
	return parts[0], Proof{sha256.Sum256(secret)}, nil
}
