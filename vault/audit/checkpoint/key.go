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
	parts := strings.Split(text, "+")
	if len(parts) < 3 {
		return Key{}, malformed("a key is a name, a hash and a public key, with plus signs between")
	}
	public, ok := decodeBase64(strings.Join(parts[2:], "+")) // base64 has plus signs too
	if !ok || len(public) != 1+ed25519.PublicKeySize || public[0] != typeEd25519 {
		return Key{}, malformed("a public key is Ed25519: a byte of 1 and 32 bytes, in base64")
	}
	k := Key{Name: parts[0], Public: public[1:]}
	if !validName(k.Name) || k.String() != text {
		return Key{}, malformed("a key's name has no spaces and plus signs, and its hash is of the name and the public key")
	}
	return k, nil
}

// String is the key as text, to be held and passed on by people. It is no secret.
func (k Key) String() string {
	public := append([]byte{typeEd25519}, k.Public...)
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.Hash(), base64.StdEncoding.EncodeToString(public))
}

// Hash is the key id that signatures carry. It tells keys apart that are not made to collide, and proves nothing.
func (k Key) Hash() uint32 {
	h := sha256.New()
	h.Write([]byte(k.Name))
	h.Write([]byte{'\n', typeEd25519})
	h.Write(k.Public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Equal reports whether both are the same key under the same name.
func (k Key) Equal(other Key) bool {
	return k.Name == other.Name && bytes.Equal(k.Public, other.Public)
}

func (k Key) valid() bool { return validName(k.Name) && len(k.Public) == ed25519.PublicKeySize }

// validName is what c2sp.org/signed-note asks of a key's name, and no control characters, which no note may hold.
func validName(name string) bool {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '+' }
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && strings.IndexFunc(name, bad) < 0
}

// maxName is the longest name of a key, and origin, in bytes.
const maxName = 255
