// Package checkpoint holds what a transparency log publishes about itself, as text that anybody's tools can check: signed
// notes (c2sp.org/signed-note), checkpoints of a Merkle tree (c2sp.org/tlog-checkpoint), proofs that an entry is in it
// (c2sp.org/tlog-proof), and successions, by which a log names the key or the origin under which it goes on.
//
// # Model
//
// A log is a tree that only grows, under an origin. Its key is an Ed25519 key whose name is the origin: a checkpoint counts
// only when it is signed by a key that bears its origin as its name, so that the key of one log says nothing about another.
// Who holds one [Key], as the text that [Key.String] writes, can check everything the log ever publishes: a checkpoint
// itself, an entry by an [InclusionProof], a later key or origin by the successions that lead there ([Follow]).
//
// # Strictness
//
// What these parsers accept is what the writers here would write for the same content, byte for byte, with one exception
// that the format demands: signatures of unknown keys may stand on a note, and are ignored. A note that bears a bad
// signature of a known key is refused whole.
//
// The package is a leaf: it does no I/O, and a [Signer] may be remote.
package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrFormat reports text that is not of the format it should have. All errors of parsing wrap it.
var ErrFormat = errors.New("checkpoint: malformed")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// Tree is the head of a log: what a checkpoint says.
type Tree struct {
	Origin string    // names the log, and the key that signs for it
	Size   int64     // entries in the tree
	Root   tlog.Hash // RFC 6962, section 2.1
}

// Marshal writes the text of a checkpoint, which is to be signed. It fails when the origin is no name of a key or the size
// is negative.
func (t Tree) Marshal() (string, error) {
	if !validName(t.Origin) || t.Size < 0 {
		return "", malformed("a tree needs an origin without spaces and plus signs, and a size from 0")
	}
	return fmt.Sprintf("%s\n%d\n%s\n", t.Origin, t.Size, encodeHash(t.Root)), nil
}

// ParseTree reads the text of a checkpoint. Extension lines, which the format discourages, are refused.
func ParseTree(text string) (Tree, error) {
	lines, ok := cutLines(text)
	if !ok || len(lines) != 3 {
		return Tree{}, malformed("the text of a checkpoint is three lines")
	}
	if !validName(lines[0]) {
		return Tree{}, malformed("an origin has no spaces and no plus signs")
	}
	size, err := parseNumber(lines[1])
	if err != nil {
		return Tree{}, err
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Tree{}, err
	}
	return Tree{Origin: lines[0], Size: size, Root: root}, nil
}

// OpenTree verifies a checkpoint and reads it: at least one of keys must have signed it under the name of its origin. It
// fails with [ErrFormat] or [ErrUnverified].
func OpenTree(msg []byte, keys ...Key) (Tree, error) {
	text, signed, err := Open(msg, keys...)
	if err != nil {
		return Tree{}, err
	}
	tree, err := ParseTree(text)
	if err != nil {
		return Tree{}, err
	}
	for _, k := range signed {
		if k.Name == tree.Origin {
			return tree, nil
		}
	}
	return Tree{}, fmt.Errorf("%w: the key that signed is not of the origin that the checkpoint names", ErrUnverified)
}

// ReadTree reads what a checkpoint says and verifies nothing: for whoever trusts the place where it lies. It fails with [ErrFormat].
func ReadTree(msg []byte) (Tree, error) {
	text, _, _ := strings.Cut(string(msg), "\n\n")
	return ParseTree(text + "\n")
}

// cutLines takes apart text that ends in a newline.
func cutLines(text string) ([]string, bool) {
	text, ok := strings.CutSuffix(text, "\n")
	return strings.Split(text, "\n"), ok
}

// parseNumber reads a decimal from 0 without leading zeros.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, malformed("a number is decimal digits without leading zeros")
	}
	return n, nil
}

func encodeHash(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func parseHash(s string) (tlog.Hash, error) {
	b, ok := decodeBase64(s)
	if !ok || len(b) != tlog.HashSize {
		return tlog.Hash{}, malformed("a hash is 32 bytes in base64")
	}
	return tlog.Hash(b), nil
}

// decodeBase64 reads standard base64 in the one form that an encoder writes.
func decodeBase64(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return b, err == nil && base64.StdEncoding.EncodeToString(b) == s
}
