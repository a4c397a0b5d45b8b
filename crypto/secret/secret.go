// Package secret holds values that must never be shown: keys, passwords, personal data on its way through.
//
// A secret prints, logs and encodes as [redacted], whatever verb or encoder meets it. The only way to the value is
// Expose, which is easy to search for.
//
// Methods alone cannot promise that. The fmt package does not call them on an unexported field of another struct, nor for
// %p, but walks the value by reflection, through pointers too when the verb does not fit them (%s); so do debugging printers.
// So the value is held by a function, whose captured variables no reflection reaches: the worst that shows is a code address.
// Whoever keeps a cipher or another holder of a key in a struct should keep its methods instead, for the same reason.
//
// It also keeps secrets from being compared with == (which would leak time) or used as map keys: that does not compile.
// Compare with crypto/subtle on what Expose returns.
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what a secret shows instead of itself.
const Redacted = "[redacted]"

// Bytes is a secret byte string. The zero value is empty. Copies share the bytes.
type Bytes struct{ expose func() []byte }

// New takes ownership of b.
func New(b []byte) Bytes { return Bytes{func() []byte { return b }} }

// Expose returns the bytes themselves, not a copy.
func (s Bytes) Expose() []byte {
	if s.expose == nil {
		return nil
	}
	return s.expose()
}

// Len returns the length in bytes.
func (s Bytes) Len() int { return len(s.Expose()) }

// Wipe overwrites the bytes with zeros, for every copy of this value.
func (s Bytes) Wipe() { clear(s.Expose()) }

// String redacts.
func (s Bytes) String() string { return Redacted }

// Format redacts under every verb.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue redacts.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText redacts in JSON, YAML, XML and every other encoder that asks for text.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalBinary redacts in encoders that ask for bytes.
func (s Bytes) MarshalBinary() ([]byte, error) { return []byte(Redacted), nil }

// String is a secret text. The zero value is empty.
type String struct{ expose func() string }

// NewString makes a secret of s.
func NewString(s string) String { return String{func() string { return s }} }

// Expose returns the text.
func (s String) Expose() string {
	if s.expose == nil {
		return ""
	}
	return s.expose()
}

// Len returns the length in bytes.
func (s String) Len() int { return len(s.Expose()) }

// String redacts.
func (s String) String() string { return Redacted }

// Format redacts under every verb.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue redacts.
func (s String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText redacts.
func (s String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalBinary redacts.
func (s String) MarshalBinary() ([]byte, error) { return []byte(Redacted), nil }
