// Package secret holds values that must never be shown: keys, passwords, personal data on its way through.
//
// A secret prints, logs and encodes as [redacted], whatever verb or encoder meets it. The only way to the value is
// Expose, which is easy to search for. The types are structs, so that no conversion reaches the value by accident.
package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what a secret shows instead of itself.
const Redacted = "[redacted]"

// Bytes is a secret byte string. The zero value is empty. Copies share the bytes.
type Bytes struct{ b []byte }

// New takes ownership of b.
func New(b []byte) Bytes { return Bytes{b} }

// Expose returns the bytes themselves, not a copy.
func (s Bytes) Expose() []byte { return s.b }

// Len returns the length in bytes.
func (s Bytes) Len() int { return len(s.b) }

// Wipe overwrites the bytes with zeros, for every copy of this value.
func (s Bytes) Wipe() { clear(s.b) }

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
type String struct{ s string }

// NewString makes a secret of s.
func NewString(s string) String { return String{s} }

// Expose returns the text.
func (s String) Expose() string { return s.s }

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
