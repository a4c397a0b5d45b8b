// Package envelope seals small values (fields, notes, file keys) under a 32-byte key and a context.
//
// # Format
//
// A sealed value of version 1 is
//
//	version    1 byte    0x01
//	salt       32 bytes  random
//	commitment 32 bytes
//	nonce      12 bytes  random
//	ciphertext P bytes   AES-256-GCM of the padded plaintext
//	tag        16 bytes
//
// where HKDF-SHA256(key, salt, info = encoded context) gives 64 bytes: the AES-256 key, then the commitment. The encoded
// context is also the additional data. The padded plaintext is its length as a big-endian uint32, the plaintext, and zeros
// up to P, which is a power of two from 16 to 4,096 bytes and above that a Padmé length, up to 1 MiB.
//
// # Invariants
//
// A value opens under one key only (the commitment binds it), in one context only, and in one form only: Open refuses
// whatever Seal would not have written. Every failure to open is the same error. Nothing is compressed, so the length tells
// no more than the padded length. All primitives are in Go's FIPS 140-3 module and pass GODEBUG=fips140=only.
//
// docs/formats.md specifies the format for other implementations; testdata/vectors.json holds its vectors.
package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/secret"
)

// KeySize is the length of every key, in bytes.
const KeySize = 32

const (
	version1       = 0x01
	saltSize       = 32
	commitmentSize = 32
	nonceSize      = 12
	tagSize        = 16

	saltAt       = 1
	commitmentAt = saltAt + saltSize
	boxAt        = commitmentAt + commitmentSize // nonce, ciphertext, tag
)

// Overhead is how much longer a sealed value is than its padded plaintext, in bytes.
const Overhead = boxAt + nonceSize + tagSize

var (
	// ErrOpen reports a sealed value that does not open: damaged, cut, sealed under another key or in another context.
	// It never says which.
	ErrOpen = errors.New("envelope: sealed value does not open")

	// ErrTooLong reports a plaintext of more than MaxPlaintext bytes.
	ErrTooLong = errors.New("envelope: plaintext too long")

	// ErrKey reports a key that is not of KeySize bytes.
	ErrKey = errors.New("envelope: key is not 32 bytes")
)

// Size returns the length of a sealed value whose plaintext has n bytes, n at most MaxPlaintext.
func Size(n int) int { return Overhead + paddedSize(n) }

// Seal returns plaintext sealed under key in context c. It keeps neither argument. Two sealings of one value differ.
// Its errors are ErrKey, ErrContext and ErrTooLong.
func Seal(key secret.Bytes, c Context, plaintext []byte) ([]byte, error) {
	if key.Len() != KeySize {
		return nil, ErrKey
	}
	if len(plaintext) > MaxPlaintext {
		return nil, ErrTooLong
	}
	context, err := c.encode()
	if err != nil {
		return nil, err
	}
	out := make([]byte, Size(len(plaintext)))
	out[0] = version1
	salt := out[saltAt:commitmentAt]
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the process instead
	box, commitment, err := derive(key, salt, context)
	if err != nil {
		return nil, err
	}
	copy(out[commitmentAt:], commitment)
	padded := out[boxAt : len(out)-nonceSize-tagSize]
	pad(padded, plaintext)
	return box.Seal(out[:boxAt], nil, padded, context), nil //nolint:gosec // box draws its nonce itself
}

// Open returns the plaintext of sealed, in memory of its own. Every value that does not open under key in context c, for
// whatever reason, gives ErrOpen and nothing else.
func Open(key secret.Bytes, c Context, sealed []byte) ([]byte, error) {
	padded := len(sealed) - Overhead
	if key.Len() != KeySize || padded < minPadded || padded > maxPadded || sealed[0] != version1 {
		return nil, ErrOpen
	}
	context, err := c.encode()
	if err != nil {
		return nil, ErrOpen
	}
	box, commitment, err := derive(key, sealed[saltAt:commitmentAt], context)
	if err != nil {
		return nil, ErrOpen
	}
	if subtle.ConstantTimeCompare(commitment, sealed[commitmentAt:boxAt]) != 1 {
		return nil, ErrOpen
	}
	b, err := box.Open(nil, nil, sealed[boxAt:], context)
	if err != nil {
		return nil, ErrOpen
	}
	plaintext, ok := unpad(b)
	if !ok {
		return nil, ErrOpen
	}
	return plaintext, nil
}

// derive returns the cipher and the commitment that key, salt and context give.
func derive(key secret.Bytes, salt, context []byte) (cipher.AEAD, []byte, error) {
	okm, err := hkdf.Key(sha256.New, key.Expose(), salt, string(context), KeySize+commitmentSize)
	if err != nil {
		return nil, nil, fmt.Errorf("envelope: deriving: %w", err)
	}
	block, err := aes.NewCipher(okm[:KeySize])
	if err != nil {
		return nil, nil, fmt.Errorf("envelope: keying: %w", err)
	}
	clear(okm[:KeySize])
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, nil, fmt.Errorf("envelope: keying: %w", err)
	}
	return box, okm[KeySize:], nil
}
