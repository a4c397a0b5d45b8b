package local

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

// An entry is any file but the keyring: the version byte and what is sealed under the master key, with the associated
// data "sandyq/local/" ‖ purpose ‖ version ‖ name. Purpose and name are
//
//	key/         the id, 16 bytes; sealed is the subject key, 32 bytes; the file has 61 bytes
//	signing/     the version, 8 bytes big-endian; sealed is the seed of RFC 8032, 32 bytes; the file has 61 bytes
//	generation/  the number, 8 bytes big-endian; sealed is the instance, 16 bytes; the file has 45 bytes
//	mark/        nothing; sealed are the entries, 8 bytes big-endian, and the head, 32 bytes; the file has 69 bytes
//
// A key's file of zeros only was overwritten by Destroy and not unlinked yet; the key is missing.
const (
	version      = 1
	sealOverhead = 12 + 16 // nonce and tag of AES-GCM

	keyFileLength        = 1 + sealOverhead + kms.KeySize
	signingFileLength    = 1 + sealOverhead + ed25519.SeedSize
	generationFileLength = 1 + sealOverhead + len(kms.ID{})
	markFileLength       = 1 + sealOverhead + markSize
)

func keyContext(id kms.ID) []byte {
	return append([]byte("sandyq/local/key/\x01"), id[:]...)
}

func signingContext(version int) []byte {
	return binary.BigEndian.AppendUint64([]byte("sandyq/local/signing/\x01"), uint64(version))
}

func markContext() []byte { return []byte("sandyq/local/mark/\x01") }

func generationContext(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("sandyq/local/generation/\x01"), number)
}

func sealEntry(master secret.Bytes, context, plaintext []byte) ([]byte, error) {
	sealed, err := seal(master, context, plaintext)
	if err != nil {
		return nil, err
	}
	return append([]byte{version}, sealed...), nil
}

func openEntry(master secret.Bytes, context, entry []byte) ([]byte, error) {
	if len(entry) == 0 || entry[0] != version {
		return nil, kms.ErrCorrupt
	}
	return unseal(master, context, entry[1:])
}

func seal(key secret.Bytes, context, plaintext []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plaintext, context), nil //nolint:gosec // it draws its nonce itself
}

func unseal(key secret.Bytes, context, sealed []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed, context)
	if err != nil {
		return nil, kms.ErrCorrupt
	}
	return plaintext, nil
}

func newAEAD(key secret.Bytes) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, fmt.Errorf("make AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make AES-GCM: %w", err)
	}
	return aead, nil
}
