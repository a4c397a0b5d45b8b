package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// typeEd25519 is the signature type of plain Ed25519 notes (c2sp.org/signed-note).
const typeEd25519 = 1

// Key is a public key that signs notes under a name.
type Key struct {
	Name   string            // without spaces and plus signs; a log's is its origin
	Public ed25519.PublicKey // 32 bytes
}

// ParseKey reads the text that String writes, which is a vkey of golang.org/x/mod/sumdb/note.
func ParseKey(text string) (Key, error) {
	name, public, err := parseVkey(text, typeEd25519)
	return Key{name, public}, err
}

// String is the key as text, to be held and passed on by people. It is no secret.
func (k Key) String() string {
	return vkey(k.Name, typeEd25519, k.Public)
}

// Hash is the key id that signatures carry. It tells keys apart that are not made to collide, and proves nothing.
func (k Key) Hash() uint32 { return keyHash(k.Name, typeEd25519, k.Public) }

// Equal reports whether both are the same key under the same name.
func (k Key) Equal(other Key) bool {
	return k.Name == other.Name && bytes.Equal(k.Public, other.Public)
}

func (k Key) valid() bool { return validName(k.Name) && len(k.Public) == ed25519.PublicKeySize }

// vkey is an Ed25519 key of a signature type as text (c2sp.org/signed-note, verifier keys).
func vkey(name string, kind byte, public []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, kind, public), base64.StdEncoding.EncodeToString(append([]byte{kind}, public...)))
}

// parseVkey reads what vkey writes for a signature type.
func parseVkey(text string, kind byte) (name string, public ed25519.PublicKey, err error) {
	parts := strings.Split(text, "+")
	if len(parts) < 3 {
		return "", nil, malformed("a key is a name, a hash and a public key, with plus signs between")
	}
	raw, ok := decodeBase64(strings.Join(parts[2:], "+")) // base64 has plus signs too
	if !ok || len(raw) != 1+ed25519.PublicKeySize || raw[0] != kind {
		return "", nil, malformed(fmt.Sprintf("a public key is Ed25519: a byte of %d and 32 bytes, in base64", kind))
	}
	name, public = parts[0], raw[1:]
	if !validName(name) || vkey(name, kind, public) != text {
		return "", nil, malformed("a key's name has no spaces and plus signs, and its hash is of the name and the public key")
	}
	return name, public, nil
}

// keyHash is the key id of an Ed25519 key of a signature type.
func keyHash(name string, kind byte, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', kind})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// validName is what c2sp.org/signed-note asks of a key's name, and no control characters, which no note may hold.
func validName(name string) bool {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' }
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && strings.IndexFunc(name, bad) < 0
}

// maxName is the longest name of a key, and origin, in bytes.
const maxName = 255
