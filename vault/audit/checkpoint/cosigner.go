package checkpoint

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
)

// typeCosigner is the signature type of timestamped Ed25519 cosignatures (c2sp.org/tlog-cosignature).
const typeCosigner = 4

// Cosigner is the public key of a witness, which cosigns checkpoints (c2sp.org/tlog-cosignature, Ed25519). A cosignature does not
// commit to the name, so one public key is one witness, whatever the names.
type Cosigner struct {
	Name   string            // without spaces and plus signs
	Public ed25519.PublicKey // 32 bytes
}

// ParseCosigner reads the text that String writes: a vkey of type 4.
func ParseCosigner(text string) (Cosigner, error) {
	name, public, err := parseVkey(text, typeCosigner)
	return Cosigner{name, public}, err
}

// String is the key as text. It is no secret.
func (c Cosigner) String() string { return vkey(c.Name, typeCosigner, c.Public) }

// Hash is the key id that cosignatures carry.
func (c Cosigner) Hash() uint32 { return keyHash(c.Name, typeCosigner, c.Public) }

// made reports whether a signature says it is c's.
func (c Cosigner) made(s signature) bool { return c.Name == s.name && c.Hash() == s.hash }

// Cosignature is a witness's word that at a time the largest tree of the log that it knew of was a checkpoint's, and that each it
// knew of before is its beginning. It was verified.
type Cosignature struct {
	By Cosigner
	At time.Time // to the second; nobody but the witness vouches for it

	signature signature
}

// DistinctCosigners fails with [ErrFormat] when one of the cosigners is no key, or two are one witness.
func DistinctCosigners(cosigners ...Cosigner) error {
	for i, c := range cosigners {
		if !validName(c.Name) || len(c.Public) != ed25519.PublicKeySize {
			return malformed("the key of a witness")
		}
		for _, other := range cosigners[:i] {
			if c.Public.Equal(other.Public) {
				return malformed("two witnesses have one key")
			}
		}
	}
	return nil
}

// Cosignatures are those of cosigners on a checkpoint, in the order of its lines, one of each at most. The log's own signature
// is for [OpenTree] to verify. It fails with [ErrFormat] or [ErrUnverified], the latter for a bad one of any of cosigners.
func Cosignatures(msg []byte, cosigners ...Cosigner) ([]Cosignature, error) {
	text, sigs, err := splitNote(msg)
	if err != nil {
		return nil, err
	}
	if _, err := ParseTree(text); err != nil {
		return nil, err
	}
	return cosignatures(text, sigs, cosigners)
}

// ParseCosignature reads what a witness answers to the tree: lines of signatures, of which one is by's (c2sp.org/tlog-witness). It
// fails with [ErrFormat], or with [ErrUnverified] also when there is none.
func ParseCosignature(answer []byte, tree Tree, by Cosigner) (Cosignature, error) {
	text, err := tree.Marshal()
	if err != nil {
		return Cosignature{}, err
	}
	sigs, err := parseSignatures(string(answer))
	if err != nil {
		return Cosignature{}, err
	}
	found, err := cosignatures(text, sigs, []Cosigner{by})
	if err != nil {
		return Cosignature{}, err
	}
	if len(found) == 0 {
		return Cosignature{}, fmt.Errorf("%w: the witness did not sign", ErrUnverified)
	}
	return found[0], nil
}

func cosignatures(text string, sigs []signature, cosigners []Cosigner) (found []Cosignature, err error) {
	if err := DistinctCosigners(cosigners...); err != nil {
		return nil, err
	}
	for _, s := range sigs {
		for _, c := range cosigners {
			if !c.made(s) {
				continue
			}
			at, ok := c.verify(text, s.sig)
			if !ok {
				return nil, fmt.Errorf("%w: a bad cosignature of a known witness", ErrUnverified)
			}
			for _, before := range found {
				if before.By.Public.Equal(c.Public) {
					return nil, malformed("the same witness signed twice")
				}
			}
			found = append(found, Cosignature{By: c, At: at, signature: s})
		}
	}
	return found, nil
}

const timestampSize = 8 // bytes, before the signature

// verify verifies a timestamped signature of a checkpoint's text.
func (c Cosigner) verify(text string, sig []byte) (at time.Time, ok bool) {
	if len(sig) != timestampSize+ed25519.SignatureSize {
		return at, false
	}
	seconds := binary.BigEndian.Uint64(sig)
	if seconds > math.MaxInt64 {
		return at, false
	}
	return time.Unix(int64(seconds), 0).UTC(), ed25519.Verify(c.Public, cosigned(text, seconds), sig[timestampSize:])
}

// cosigned is what a witness signs of a checkpoint's text.
func cosigned(text string, seconds uint64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text)
}

// AddCosignatures is the checkpoint with those of more under it whose witness is not there yet: the checkpoint itself when that is
// none. It fails with [ErrFormat], or with [ErrUnverified] for one that is of another checkpoint.
func AddCosignatures(msg []byte, more ...Cosignature) ([]byte, error) {
	text, sigs, err := splitNote(msg)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Write(msg)
	for _, m := range more {
		if _, ok := m.By.verify(text, m.signature.sig); !ok {
			return nil, fmt.Errorf("%w: a cosignature of another checkpoint", ErrUnverified)
		}
		there := false
		for _, s := range sigs {
			there = there || m.By.made(s)
		}
		if !there {
			b.WriteString(m.signature.line())
			sigs = append(sigs, m.signature)
		}
	}
	if _, _, err := splitNote([]byte(b.String())); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}
