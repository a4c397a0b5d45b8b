package certificate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// The first lines of the notes.
const (
	header        = "sandyq erasure certificate v1"
	removalHeader = "sandyq erasure removal v1"
)

// maxNote is the largest certificate, or removal, in bytes.
const maxNote = 64 << 10

// ErrFormat reports what is not of the form that this package writes.
var ErrFormat = errors.New("malformed")

func malformed(rule string) error { return fmt.Errorf("%w: %s", ErrFormat, rule) }

// canonical writes a value as JSON in the form of RFC 8785.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("certificate: encode: %w", err)
	}
	text := jsontext.Value(b)
	if err := text.Canonicalize(); err != nil {
		return nil, fmt.Errorf("certificate: encode: %w", err)
	}
	return text, nil
}

// decode reads what canonical writes of a T, and nothing else.
func decode[T any](b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, malformed("the JSON is damaged, or has members that it must not have")
	}
	again, err := canonical(v)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, malformed("the JSON is not in its canonical form")
	}
	return v, nil
}

// Sign makes the signed note of a content. The signer's key bears the origin as its name.
func Sign(ctx context.Context, c *Content, by checkpoint.Signer) ([]byte, error) {
	if err := c.valid(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if by.Key().Name != c.Origin {
		return nil, fmt.Errorf("certificate: %w", malformed("the log's own key signs"))
	}
	return sign(ctx, header, c, by)
}

func sign(ctx context.Context, header string, v any, by checkpoint.Signer) ([]byte, error) {
	b, err := canonical(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxNote/2 {
		return nil, fmt.Errorf("certificate: %w", malformed("it is too large"))
	}
	note, err := checkpoint.Sign(ctx, header+"\n"+string(b)+"\n", by)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return note, nil
}

// open verifies a note that one key has signed, and nobody else, and reads what it says.
func open[T any](note []byte, header string, keys []checkpoint.Key) (v *T, text string, by checkpoint.Key, err error) {
	if len(note) > maxNote {
		return nil, "", by, malformed("it is too large")
	}
	text, signed, err := checkpoint.Open(note, keys...)
	if err != nil {
		return nil, "", by, err
	}
	if bytes.Count(note[len(text):], []byte("\n")) != 2 {
		return nil, "", by, malformed("it bears one signature and no other")
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 2 || lines[0] != header {
		return nil, "", by, malformed("the signed note is not \"" + header + "\"")
	}
	v, err = decode[T]([]byte(lines[1]))
	return v, text, signed[0], err
}

// hashOf is the SHA-256 of a note's text, without its signatures, as hexadecimal digits.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
