package envelope_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/sandyq/sandyq/crypto/envelope"
)

// This file is a second implementation of sealed values, written from docs/formats.md and calling nothing of the package. It
// takes its salt and nonce from the caller, and names what it refuses.

var (
	errSize       = errors.New("size")
	errVersion    = errors.New("version")
	errCommitment = errors.New("commitment")
	errTag        = errors.New("tag")
	errPadding    = errors.New("padding")
)

func plainContext(c envelope.Context) []byte {
	var out []byte
	for _, part := range []string{"sandyq/sealed/1", c.Kind, c.Tenant, c.Subject, c.Name} {
		out = append(out, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return binary.BigEndian.AppendUint64(out, c.Version)
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// plainDerive is RFC 5869 for 64 bytes of SHA-256.
func plainDerive(key, salt, context []byte) (aesKey, commitment []byte) {
	prk := mac(salt, key)
	aesKey = mac(prk, context, []byte{1})
	commitment = mac(prk, aesKey, context, []byte{2})
	return aesKey, commitment
}

func plainPaddedSize(n int) int {
	total := n + 4
	for size := 16; size <= 4096; size *= 2 {
		if total <= size {
			return size
		}
	}
	e := bits.Len(uint(total)) - 1
	s := bits.Len(uint(e))
	step := 1 << (e - s)
	return (total + step - 1) / step * step
}

func plainPad(plaintext []byte) []byte {
	out := make([]byte, plainPaddedSize(len(plaintext)))
	binary.BigEndian.PutUint32(out, uint32(len(plaintext)))
	copy(out[4:], plaintext)
	return out
}

func plainGCM(aesKey []byte) (gcm cipher.AEAD) {
	fips140.WithoutEnforcement(func() { // the nonce is the caller's
		block, err := aes.NewCipher(aesKey)
		if err != nil {
			panic(err)
		}
		if gcm, err = cipher.NewGCM(block); err != nil {
			panic(err)
		}
	})
	return gcm
}

// plainSeal seals bytes that are padded already, well or badly.
func plainSeal(key []byte, c envelope.Context, salt, nonce, padded []byte) (sealed []byte) {
	aesKey, commitment := plainDerive(key, salt, plainContext(c))
	sealed = append([]byte{1}, salt...)
	sealed = append(sealed, commitment...)
	sealed = append(sealed, nonce...)
	fips140.WithoutEnforcement(func() {
		sealed = plainGCM(aesKey).Seal(sealed, nonce, padded, plainContext(c))
	})
	return sealed
}

func plainOpen(key []byte, c envelope.Context, sealed []byte) (plaintext []byte, err error) {
	const overhead = 1 + 32 + 32 + 12 + 16
	if len(sealed) < overhead+16 || len(sealed) > overhead+1<<20 {
		return nil, errSize
	}
	if sealed[0] != 1 {
		return nil, errVersion
	}
	salt, commitment, nonce, box := sealed[1:33], sealed[33:65], sealed[65:77], sealed[77:]
	aesKey, want := plainDerive(key, salt, plainContext(c))
	if !hmac.Equal(commitment, want) {
		return nil, errCommitment
	}
	var padded []byte
	fips140.WithoutEnforcement(func() {
		padded, err = plainGCM(aesKey).Open(nil, nonce, box, plainContext(c))
	})
	if err != nil {
		return nil, errTag
	}
	n := int(binary.BigEndian.Uint32(padded))
	if n > len(padded)-4 {
		return nil, errPadding
	}
	plaintext = padded[4 : 4+n]
	if string(plainPad(plaintext)) != string(padded) {
		return nil, errPadding
	}
	return plaintext, nil
}
