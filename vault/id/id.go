// Package id writes 128-bit identifiers as text.
//
// The text is a prefix that names what is identified, such as "sub_", and 26 characters of lower-case Crockford base32
// (0–9 and a–z without i, l, o, u), most significant bits first. 26 characters hold 130 bits; the two in front are zero,
// so the first character is 0–7. There is one text for an identifier: upper case and Crockford's aliases are refused.
//
// Identifiers are random and say nothing about what they identify. They may stand in keys, URLs and logs.
package id

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
)

// Length is the number of characters after the prefix.
const Length = 26

// Alphabet is lower-case Crockford base32: the character of each 5-bit digit.
const Alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

const noDigit = 0xff

// digits holds what each character stands for, and noDigit for those outside the alphabet.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for i := range len(Alphabet) {
		table[Alphabet[i]] = byte(i)
	}
	return table
}()

// Digit returns the 5-bit digit that c stands for, and false when c is not in the alphabet.
func Digit(c byte) (byte, bool) { return digits[c], digits[c] != noDigit }

// ErrMalformed reports a text that is not an identifier. What wraps it names the rule that failed, never the text.
var ErrMalformed = errors.New("id: malformed")

// New returns 128 random bits.
func New() [16]byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return b
}

// Encode returns prefix and the 26 characters of b.
func Encode(prefix string, b [16]byte) string {
	out := make([]byte, len(prefix)+Length)
	copy(out, prefix)
	text := out[len(prefix):]
	var acc, held uint // the low held bits of acc are still to be written
	at := Length
	for i := len(b) - 1; i >= 0; i-- {
		acc |= uint(b[i]) << held
		for held += 8; held >= 5; held -= 5 {
			at--
			text[at] = Alphabet[acc&31]
			acc >>= 5
		}
	}
	text[0] = Alphabet[acc] // 128 = 25·5 + 3: three bits remain
	return string(out)
}

// Decode returns the identifier whose text is s, which must be exactly what Encode writes.
func Decode(prefix, s string) ([16]byte, error) {
	var b [16]byte
	text, ok := strings.CutPrefix(s, prefix)
	switch {
	case !ok:
		return b, fmt.Errorf("%w: does not begin with %q", ErrMalformed, prefix)
	case len(text) != Length:
		return b, fmt.Errorf("%w: not %d characters after the prefix", ErrMalformed, Length)
	case text[0] > '7':
		return b, fmt.Errorf("%w: first character above 7", ErrMalformed)
	}
	var acc, held uint
	at := len(b)
	for i := Length - 1; i >= 0; i-- {
		digit, ok := Digit(text[i])
		if !ok {
			return [16]byte{}, fmt.Errorf("%w: character outside lower-case Crockford base32", ErrMalformed)
		}
		acc |= uint(digit) << held
		for held += 5; held >= 8; held -= 8 {
			at--
			b[at] = byte(acc)
			acc >>= 8
		}
	}
	return b, nil
}
