package checkpoint

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	extraPrefix = "extra "
	indexPrefix = "index "

	maxExtra  = 64 << 10 // bytes
	maxHashes = 63       // the height of the largest tree there can be
)

// InclusionProof shows offline that an entry is in a log: its place in the tree, the hashes beside its way to the root,
// and the checkpoint of the root (c2sp.org/tlog-proof). Files of it end in .tlog-proof.
type InclusionProof struct {
	Extra      []byte           // not signed, so nothing may rest on it; up to 64 KiB
	Index      int64            // of the entry in the log, from 0
	Hashes     tlog.RecordProof // from the entry's sibling up
	Checkpoint []byte           // a signed note, as the log issued it
}

// Marshal writes the proof. It fails with [ErrFormat] when a parser would refuse it.
func (p InclusionProof) Marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b.WriteString(extraPrefix + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	fmt.Fprintf(&b, "%s%d\n", indexPrefix, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(encodeHash(h) + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	if _, err := ParseInclusionProof(b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ParseInclusionProof reads what Marshal writes. It verifies nothing: that is Verify's.
func ParseInclusionProof(text []byte) (InclusionProof, error) {
	head, note, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != proofHeader {
		return InclusionProof{}, malformed("a proof begins with " + proofHeader)
	}
	lines = lines[1:]
	p := InclusionProof{Checkpoint: bytes.Clone(note)}
	if len(lines) > 0 && strings.HasPrefix(lines[0], extraPrefix) {
		p.Extra, ok = decodeBase64(strings.TrimPrefix(lines[0], extraPrefix))
		if !ok || len(p.Extra) == 0 || len(p.Extra) > maxExtra {
			return InclusionProof{}, malformed("the extra data of a proof is base64")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], indexPrefix) || len(lines)-1 > maxHashes {
		return InclusionProof{}, malformed("a proof has the index of the entry, and at most 63 hashes")
	}
	var err error
	if p.Index, err = parseNumber(strings.TrimPrefix(lines[0], indexPrefix)); err != nil {
		return InclusionProof{}, err
	}
	for _, line := range lines[1:] {
		h, err := parseHash(line)
		if err != nil {
			return InclusionProof{}, err
		}
		p.Hashes = append(p.Hashes, h)
	}
	said, _, err := splitNote(p.Checkpoint)
	if err != nil {
		return InclusionProof{}, err
	}
	tree, err := ParseTree(said)
	if err != nil {
		return InclusionProof{}, err
	}
	if p.Index >= tree.Size {
		return InclusionProof{}, malformed("the entry of a proof is not in a tree of that size")
	}
	return p, nil
}

// Verify reports whether the entry is in the log at p.Index, and returns the tree that it is in. One of keys must have
// signed the checkpoint under the name of its origin. It fails with [ErrFormat] or [ErrUnverified].
func (p InclusionProof) Verify(entry []byte, keys ...Key) (Tree, error) {
	tree, err := OpenTree(p.Checkpoint, keys...)
	if err != nil {
		return Tree{}, err
	}
	if p.Index < 0 || p.Index >= tree.Size {
		return Tree{}, fmt.Errorf("%w: the entry is beyond the tree", ErrUnverified)
	}
	if err := tlog.CheckRecord(p.Hashes, tree.Size, tree.Root, p.Index, tlog.RecordHash(entry)); err != nil {
		return Tree{}, fmt.Errorf("%w: the entry is not in the tree", ErrUnverified)
	}
	return tree, nil
}
