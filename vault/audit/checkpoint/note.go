package checkpoint

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a signed note. Witnesses add signatures, post-quantum ones of nearly 5 kB among them.
const (
	MaxNote       = 512 << 10 // bytes
	MaxSignatures = 100
)

// ErrUnverified reports a note that no known key signed, or that bears a bad signature of one.
var ErrUnverified = errors.New("checkpoint: signature not verified")

// Signer signs under a key, which may be elsewhere.
type Signer interface {
	// Key is the public key that signatures verify under.
	Key() Key
	// Sign returns the Ed25519 signature of msg (RFC 8032, 64 bytes).
	Sign(ctx context.Context, msg []byte) ([]byte, error)
}

// Sign makes a signed note of text, which must end in a newline, with a signature of each signer in order. Each signature
// is verified before it is used: what a remote signer made under another key than it says does not get out.
func Sign(ctx context.Context, text string, signers ...Signer) ([]byte, error) {
	if !validText(text) || len(signers) == 0 {
		return nil, malformed("a note is text that ends in a newline and has at least one signer")
	}
	var b strings.Builder
	b.WriteString(text + "\n")
	var keys []Key
	for _, s := range signers {
		k := s.Key()
		if !k.valid() {
			return nil, malformed("a signer without a key")
		}
		sig, err := s.Sign(ctx, []byte(text))
		if err != nil {
			return nil, fmt.Errorf("checkpoint: sign: %w", err)
		}
		if !ed25519.Verify(k.Public, []byte(text), sig) {
			return nil, fmt.Errorf("%w: the signer signs under another key than it says", ErrUnverified)
		}
		b.WriteString(signature{k.Name, k.Hash(), sig}.line())
		keys = append(keys, k)
	}
	msg := []byte(b.String())
	if _, signed, err := Open(msg, keys...); err != nil || len(signed) != len(signers) {
		return nil, errors.Join(malformed("a signer signed twice, or the note is too large"), err)
	}
	return msg, nil
}

const sigPrefix = "— " // an em dash and a space

// Open verifies a signed note and returns its text and those of keys that signed it, at least one, in the order of their
// signatures. Signatures of other keys are ignored. It fails with [ErrFormat] or [ErrUnverified].
func Open(msg []byte, keys ...Key) (text string, signed []Key, err error) {
	text, sigs, err := splitNote(msg)
	if err != nil {
		return "", nil, err
	}
	for _, s := range sigs {
		for _, k := range keys {
			if !k.valid() {
				return "", nil, malformed("a key to verify under")
			}
			if k.Name != s.name || k.Hash() != s.hash {
				continue
			}
			if !ed25519.Verify(k.Public, []byte(text), s.sig) {
				return "", nil, fmt.Errorf("%w: a bad signature of a known key", ErrUnverified)
			}
			for _, before := range signed {
				if before.Equal(k) {
					return "", nil, malformed("the same key signed twice")
				}
			}
			signed = append(signed, k)
			break
		}
	}
	if len(signed) == 0 {
		return "", nil, fmt.Errorf("%w: no known key signed", ErrUnverified)
	}
	return text, signed, nil
}

// signature is a line under a note.
type signature struct {
	name string
	hash uint32
	sig  []byte
}

// line is the signature as it stands under a note.
func (s signature) line() string {
	raw := append(binary.BigEndian.AppendUint32(nil, s.hash), s.sig...)
	return sigPrefix + s.name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
}

// splitNote takes a note apart and verifies nothing.
func splitNote(msg []byte) (text string, sigs []signature, err error) {
	if len(msg) > MaxNote {
		return "", nil, malformed("the note is too large")
	}
	whole := string(msg)
	end := strings.LastIndex(whole, "\n\n")
	if end < 0 {
		return "", nil, malformed("a note has an empty line before its signatures")
	}
	text, rest := whole[:end+1], whole[end+2:]
	if !validText(text) {
		return "", nil, malformed("a note is text without control characters, and signatures")
	}
	sigs, err = parseSignatures(rest)
	return text, sigs, err
}

// parseSignatures reads lines of signatures.
func parseSignatures(text string) (sigs []signature, err error) {
	lines, ok := cutLines(text)
	if !ok || len(lines) > MaxSignatures {
		return nil, malformed("signatures are 1 to 100 lines")
	}
	for _, line := range lines {
		s, err := parseSignature(line)
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, s)
	}
	return sigs, nil
}

func parseSignature(line string) (signature, error) {
	line, ok := strings.CutPrefix(line, sigPrefix)
	name, encoded, found := strings.Cut(line, " ")
	raw, canonical := decodeBase64(encoded)
	if !ok || !found || !canonical || !validName(name) || len(raw) < 5 {
		return signature{}, malformed("a signature is an em dash, a name, and a key id and signature in base64")
	}
	return signature{name: name, hash: binary.BigEndian.Uint32(raw), sig: raw[4:]}, nil
}

// validText is what c2sp.org/signed-note asks of a note's text.
func validText(text string) bool {
	control := func(r rune) bool { return r < 0x20 && r != '\n' }
	return len(text) > 1 && strings.HasSuffix(text, "\n") && utf8.ValidString(text) && strings.IndexFunc(text, control) < 0
}
