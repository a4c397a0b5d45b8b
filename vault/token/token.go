// Package token makes and reads tokens: what an application stores in place of a value.
//
// # Formats
//
//	opaque  sdq_ body                  35 ASCII characters
//	email   body @token.invalid        45 ASCII characters, never deliverable (RFC 2606)
//	iin     12 digits                  digits 3–4 are 13–99, digit 5 is 7–9, the last is an IIN's check digit
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
// An iin token is neither a person's IIN nor a firm's BIN, twice over: in both digits 3–4 are a month, and digit 5 is 0–3 in an
// IIN, being of a day, and 4–6 in a BIN. It holds about 34 random bits, so it may collide: whoever issues one makes sure it
// is new. Opaque and email tokens need no such care. None is a bearer secret: a token opens nothing to whoever is not
// authorised.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strconv"
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
	firstMonth = 13 // the first of the 87 two-digit numbers that are no month
	firstFifth = 7  // the first of the 3 fifth digits that neither an IIN nor a BIN has
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
	sum := check(data)
	return data + string(sum[:])
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
	if sum := check(data); string(sum[:]) != body[len(data):] {
		return fmt.Errorf("%w: check characters do not match", ErrMistyped)
	}
	return nil
}

// newIIN draws again in the one case of about a hundred where no check digit exists.
func newIIN() (Token, error) {
	const years, months, fifths, serials = 100, 100 - firstMonth, 10 - firstFifth, 1_000_000
	for {
		drawn, err := rand.Int(rand.Reader, big.NewInt(years*months*fifths*serials))
		if err != nil {
			return "", fmt.Errorf("token: drawing an iin token: %w", err)
		}
		n := drawn.Int64()
		first11 := fmt.Sprintf("%02d%02d%d%06d",
			n/serials/fifths/months, firstMonth+n/serials/fifths%months, firstFifth+n/serials%fifths, n%serials)
		if digit, ok := iin.CheckDigit(first11); ok {
			return Token(first11 + string(digit)), nil
		}
	}
}

func parseIIN(s string) error {
	if len(s) != iinLength || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("%w: of no known format", ErrMistyped)
	}
	if s[2:4] < strconv.Itoa(firstMonth) {
		return fmt.Errorf("%w: twelve digits whose month could be real", ErrMistyped)
	}
	if s[4] < '0'+firstFifth {
		return fmt.Errorf("%w: twelve digits whose fifth is not 7–9", ErrMistyped)
	}
	if digit, ok := iin.CheckDigit(s[:iinLength-1]); !ok || digit != s[iinLength-1] {
		return fmt.Errorf("%w: check digit does not match", ErrMistyped)
	}
	return nil
}
