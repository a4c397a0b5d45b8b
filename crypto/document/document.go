// Package document encrypts documents as streams that can be read from anywhere in them.
//
// # Format
//
// A document is an age v1 file (c2sp.org/age) with exactly one recipient stanza, of a type of our own and without further
// arguments, whose body is the age file key as a sealed value of package envelope:
//
//	age-encryption.org/v1
//	-> github.com/sandyq/sandyq/document/1
//	base64 of the 125-byte sealed value, in lines of 64 characters
//	--- base64 of the header's MAC
//	16-byte nonce, then the payload in chunks of 64 KiB, each with a 16-byte tag
//
// The payload is the plaintext and zeros up to a Padmé length of at least 4 KiB. The plaintext's own size is not in the file:
// the writer reports it, and whoever keeps it sealed elsewhere gives it back to open the document.
//
// # Invariants
//
// The envelope's context binds the file to its person, document and version, and its commitment to one key. The size of a file
// follows from the size of its plaintext, and a file of any other size is refused when opened, before anything is read; so are
// a cut, an extended and a changed header or last chunk. Damage elsewhere is found when that chunk is read: no byte of
// a chunk that does not authenticate is ever returned. Padding is authenticated but not looked at: only a holder
// of the key could have written something else there.
//
// age encrypts with ChaCha20-Poly1305, which GODEBUG=fips140=only refuses: under it documents give ErrCipher.
package document

import (
	"crypto/fips140"
	"encoding/base64"
	"errors"
	"fmt"

	"filippo.io/age"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/secret"
)

// MaxSize is the largest plaintext, in bytes: 1 TiB.
const MaxSize = 1 << 40

const (
	intro      = "age-encryption.org/v1\n"
	stanzaType = "github.com/sandyq/sandyq/document/1"

	fileKeySize = 16
	macSize     = 32
	nonceSize   = 16
	chunkSize   = 64 << 10 // of plaintext
	tagSize     = 16
	minPadded   = 4 << 10
	lineWidth   = 64
)

var (
	// ErrOpen reports a file that is not the document asked for: damaged, cut or extended, of another key, context or size.
	// It never says which.
	ErrOpen = errors.New("document: does not open")

	// ErrTooLong reports a plaintext of more than MaxSize bytes.
	ErrTooLong = errors.New("document: too long")

	// ErrCipher reports a process that may not use the cipher of documents, being under GODEBUG=fips140=only.
	ErrCipher = errors.New("document: ChaCha20-Poly1305 is refused under fips140=only")
)

// headerSize is the length of every document's header, in bytes: intro, stanza line, body lines and MAC line.
var headerSize = func() int64 {
	body := base64.RawStdEncoding.EncodedLen(envelope.Size(fileKeySize))
	return int64(len(intro) + len("-> "+stanzaType+"\n") + body + body/lineWidth + 1 +
		len("--- ") + base64.RawStdEncoding.EncodedLen(macSize) + 1)
}()

// paddedSize returns the length of the payload's plaintext for a document of n bytes.
func paddedSize(n int64) int64 { return max(minPadded, int64(envelope.Padme(uint64(n)))) }

// fileSize returns the length of the file of a document of n bytes.
func fileSize(n int64) int64 {
	padded := paddedSize(n)
	chunks := (padded + chunkSize - 1) / chunkSize
	return headerSize + nonceSize + padded + chunks*tagSize
}

// wrapping is the age recipient and identity of one document: it seals and opens the file key.
type wrapping struct {
	key     secret.Bytes
	context envelope.Context
}

// Wrap returns the one stanza of a document.
func (w wrapping) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	body, err := envelope.Seal(w.key, w.context, fileKey)
	if err != nil {
		return nil, fmt.Errorf("document: sealing the file key: %w", err)
	}
	return []*age.Stanza{{Type: stanzaType, Body: body}}, nil
}

// Unwrap returns the file key from the one stanza of a document, and refuses every other set of stanzas.
func (w wrapping) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanzaType || len(stanzas[0].Args) != 0 {
		return nil, ErrOpen
	}
	fileKey, err := envelope.Open(w.key, w.context, stanzas[0].Body)
	if err != nil || len(fileKey) != fileKeySize {
		return nil, ErrOpen
	}
	return fileKey, nil
}

// allowed returns ErrCipher where the process may not use the cipher of documents.
func allowed() error {
	if fips140.Enforced() {
		return ErrCipher
	}
	return nil
}
