package schema

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/api"
)

// Value is a value of a field in canonical form: what is sealed. It shows itself to Wire, Encode and Key and to nothing else: printing and
// logging a Value, or anything that holds one, gives no part of it. The zero value is no value.
type Value struct {
	typ   Type
	text  secret.String
	parts []part // of a value by parts, in the order of partNames, none empty; nil of a text
}

// part is one named part of an address.
type part struct {
	name int // an index of partNames
	text secret.String
}

func newText(t Type, text string) Value { return Value{typ: t, text: secret.NewString(text)} }

func newPart(name int, text string) part { return part{name, secret.NewString(text)} }

// Type returns the type the value was normalised under, "" for no value.
func (v Value) Type() Type { return v.typ }

// Wire returns the value as the API carries it.
func (v Value) Wire() api.Value {
	if v.parts == nil {
		return api.Text(v.text.Expose())
	}
	parts := make(map[string]string, len(v.parts))
	for _, p := range v.parts {
		parts[partNames[p.name]] = p.text.Expose()
	}
	return api.Parts(parts)
}

// Key returns what two spellings of one value have in common: what the blind index MACs and what Equal compares. It is as personal as the
// value. It names no type and no field: whoever MACs it binds it to the field.
//
// The key of an e-mail address is lower-cased, a name's is case-folded with its hyphens and apostrophes made one kind, an address is
// case-folded; of every other type the key is the canonical form itself. The key of parts starts with a NUL, which no text contains.
func (v Value) Key() string {
	if v.typ == "" {
		return ""
	}
	key := v.typ.kind().key
	if v.parts == nil {
		return key(v.text.Expose())
	}
	var b []byte
	for _, p := range v.parts {
		b = appendPart(b, p.name, key(p.text.Expose()))
	}
	return "\x00" + string(b)
}

// Equal reports whether both are the same value, however spelt: same type, same key. A correction that changes the spelling alone is
// still a correction; compare Encode where that matters.
func (v Value) Equal(w Value) bool { return v.typ == w.typ && v.Key() == w.Key() }

// The bytes that open an encoded value: its version, and after the type's code its shape.
const (
	version    = 1
	shapeText  = 0
	shapeParts = 1
	headerSize = 3
)

// Encode returns the bytes that are sealed:
//
//	version  1 byte, 1
//	type     1 byte, the type's code
//	shape    1 byte, 0 for a text, 1 for parts
//	text     UTF-8 to the end; or for each part, in ascending order of their numbers: number 1 byte, length unsigned varint, UTF-8
//
// The parts are country 0, region 1, city 2, line 3, kato 4. Neither a text nor a part is empty. The zero value encodes as no bytes.
func (v Value) Encode() []byte {
	if v.typ == "" {
		return nil
	}
	b := []byte{version, v.typ.kind().code, shapeText}
	if v.parts == nil {
		return append(b, v.text.Expose()...)
	}
	b[2] = shapeParts
	for _, p := range v.parts {
		b = appendPart(b, p.name, p.text.Expose())
	}
	return b
}

func appendPart(b []byte, name int, text string) []byte {
	b = append(b, byte(name))
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// Decode reads what Encode wrote and refuses everything else. It checks the form and not the rules of the type: a value that was accepted
// under older rules stays readable.
func Decode(b []byte) (Value, error) {
	if len(b) <= headerSize {
		return Value{}, errors.New("schema: decode a value: too short")
	}
	if b[0] != version {
		return Value{}, fmt.Errorf("schema: decode a value: version %d", b[0])
	}
	t, ok := typeOf[b[1]]
	if !ok {
		return Value{}, fmt.Errorf("schema: decode a value: type %d", b[1])
	}
	body := string(b[headerSize:])
	switch {
	case b[2] == shapeText:
		if !utf8.ValidString(body) {
			return Value{}, errors.New("schema: decode a value: not UTF-8")
		}
		return newText(t, body), nil
	case b[2] == shapeParts && t.kind().hasParts:
		parts, ok := decodeParts(body)
		if !ok {
			return Value{}, errors.New("schema: decode a value: broken parts")
		}
		return Value{typ: t, parts: parts}, nil
	}
	return Value{}, fmt.Errorf("schema: decode a value: shape %d", b[2])
}

func decodeParts(s string) (parts []part, ok bool) {
	next := 0 // the lowest number that may follow
	for len(s) > 0 {
		name := int(s[0])
		if name < next || name >= len(partNames) {
			return nil, false
		}
		size, n := binary.Uvarint([]byte(s[1:min(len(s), 1+binary.MaxVarintLen32)]))
		if n <= 0 || n > 1 && s[n] == 0 || size == 0 { // s[n] is the varint's last byte: 0 there is a longer way to write a number
			return nil, false
		}
		s = s[1+n:]
		if size > uint64(len(s)) || !utf8.ValidString(s[:size]) {
			return nil, false
		}
		parts = append(parts, newPart(name, s[:size]))
		s, next = s[size:], name+1
	}
	return parts, true
}

// Format redacts under every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// LogValue redacts.
func (v Value) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

var errEncoder = errors.New("schema: a value is encoded by Encode or as its Wire form only")

// MarshalText fails: a value that meets an encoder got there by mistake, and redacting it would lose it.
func (v Value) MarshalText() ([]byte, error) { return nil, errEncoder }

// MarshalBinary fails like MarshalText.
func (v Value) MarshalBinary() ([]byte, error) { return nil, errEncoder }
