// Package token makes and reads tokens: what an application stores in place of a value.
//
// # Formats
//
//	opaque  sdq_ body                  35 ASCII characters
//	email   body @token.invalid        45 ASCII characters, never deliverable (RFC 2606)
//	iin     YYMM DDCNNNN K             12 digits, month 13–99, valid check digit
//
// A body is an environment letter (a–z, so that a token of a test system is refused in production), 26 characters of
// lower-case Crockford base32 that are 128 random bits as in package id, and 4 check characters.
//
// # Invariants
//
// Tokens are random and never derived from a value. A body with up to four wrong characters, wherever they are, is refused
// without asking anyone, and so is one with any two characters swapped; other damage passes with chance 2⁻²⁰. Each token has
// one spelling: Parse refuses upper case, aliases and space.
//
// An iin token is neither a person's IIN nor a firm's BIN, whose digits 3–4 are both a month. It holds about 36 random bits,
// so it may collide: whoever issues one makes sure it is new. Opaque and email tokens need no such care. None is a bearer
// secret: a token opens nothing to whoever is not authorised.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/iin"
)

// Token is a well-formed token in its one spelling.
type Token string

// Format names the shape of a token.
type Format string

// The formats. Opaque is the one to use; the others fit columns that take nothing else.
const (
	Opaque Format = "opaque"
	Email  Format = "email"
	IIN    Format = "iin"
)

const (
	prefix = "sdq_"
	suffix = "@token.invalid"

	iinLength  = 12
	firstMonth = 13 // the first of the 87 two-digit numbers that no month has
)

// ErrMistyped reports a text that is not a token. What wraps it names the rule that failed, never the text.
var ErrMistyped = errors.New("token: mistyped")

// New returns a fresh random token of format f for the environment letter env, a–z, which an iin token has no room for.
func New(f Format, env byte) (Token, error) {
	if env < 'a' || env > 'z' {
		return "", errors.New("token: environment is not a letter a–z")
	}
	switch f {
	case Opaque:
		return Token(prefix + newBody(env)), nil
	case Email:
		return Token(newBody(env) + suffix), nil
	case IIN:
		return newIIN()
	default:
		return "", fmt.Errorf("token: unknown format %q", f)
	}
}

// Parse returns the token that s spells and its format. Errors wrap ErrMistyped.
func Parse(s string) (Token, Format, error) {
	var f Format
	var err error
	if body, ok := strings.CutPrefix(s, prefix); ok {
		f, err = Opaque, parseBody(body)
	} else if body, ok := strings.CutSuffix(s, suffix); ok {
		f, err = Email, parseBody(body)
	} else {
		f, err = IIN, parseIIN(s)
	}
	if err != nil {
		return "", "", err
	}
	return Token(s), f, nil
}

// Environment returns the environment letter of an opaque or email token, and false for the others.
func (t Token) Environment() (byte, bool) {
	body, ok := strings.CutPrefix(string(t), prefix)
	if !ok {
		body, ok = strings.CutSuffix(string(t), suffix)
	}
	if !ok || len(body) != bodyLength {
		return 0, false
	}
	return body[0], true
}

func newBody(env byte) string {
	data := id.Encode(string(env), id.New())
	return data + check(data)
}

func parseBody(body string) error {
	if len(body) != bodyLength {
		return fmt.Errorf("%w: wrong length", ErrMistyped)
	}
	if env := body[0]; env < 'a' || env > 'z' {
		return fmt.Errorf("%w: environment is not a letter a–z", ErrMistyped)
	}
	data := body[:bodyLength-checkLength]
	if _, err := id.Decode(data[:1], data); err != nil {
		return fmt.Errorf("%w: not 26 characters of lower-case Crockford base32, the first at most 7", ErrMistyped)
	}
	if check(data) != body[len(data):] {
		return fmt.Errorf("%w: check characters do not match", ErrMistyped)
	}
	return nil
}

// newIIN draws until the number has a check digit; one in eleven first weightings and about one in a hundred numbers fail.
func newIIN() (Token, error) {
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(100*87*10_000_000))
		if err != nil {
			return "", fmt.Errorf("token: drawing an iin token: %w", err)
		}
		rest := n.Int64()
		serial, rest := rest%10_000_000, rest/10_000_000
		month, year := firstMonth+rest%87, rest/87
		first11 := fmt.Sprintf("%02d%02d%07d", year, month, serial)
		if digit, ok := iin.CheckDigit(first11); ok {
			return Token(first11 + string(digit)), nil
		}
	}
}

func parseIIN(s string) error {
	if len(s) != iinLength || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("%w: of no known format", ErrMistyped)
	}
	if s[2:4] < "13" {
		return fmt.Errorf("%w: twelve digits whose month could be real", ErrMistyped)
	}
	if digit, ok := iin.CheckDigit(s[:iinLength-1]); !ok || digit != s[iinLength-1] {
		return fmt.Errorf("%w: check digit does not match", ErrMistyped)
	}
	return nil
}
