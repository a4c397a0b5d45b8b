package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/sandyq/sandyq/vault/store"
)

// The bounds of a chunk. A row ends a chunk with a chance of its bytes and rowWeight more in chunkBytes: after 256 small rows or
// 64 KiB, on average. Smaller chunks would share more between snapshots and be more files; the rows of people lie under
// random keys, so a change of one row in n rewrites one chunk in n/256. What is restored from one chunk fits one Update.
const (
	chunkBytes = 64 << 10
	rowWeight  = chunkBytes / 256
	mostBytes  = 1 << 20
	mostRows   = 4096
)

// ChunkID is the SHA-256 of a chunk's plaintext.
type ChunkID [sha256.Size]byte

func (c ChunkID) String() string { return hex.EncodeToString(c[:]) }

// Cutter cuts ascending rows into chunks.
type Cutter struct {
	chunk bytes.Buffer
	rows  int
	last  []byte // key
}

// Add takes the next row in, and reports whether the chunk ends with it.
func (c *Cutter) Add(key, value []byte) (full bool) {
	c.last = append(c.last[:0], key...)
	before := c.chunk.Len()
	part := c.chunk.AvailableBuffer()
	part = appendPart(part, key)
	part = appendPart(part, value)
	c.chunk.Write(part)
	c.rows++
	size := c.chunk.Len() - before
	digest := sha256.Sum256(key)
	ends := binary.BigEndian.Uint64(digest[:])%chunkBytes < uint64(size+rowWeight)
	return ends || c.rows == mostRows || c.chunk.Len() >= mostBytes
}

func appendPart(to, part []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}

// Take gives what was added since the last one; no rows when there is nothing. The bytes hold until the next Add.
func (c *Cutter) Take() (chunk []byte, rows int) {
	chunk, rows = c.chunk.Bytes(), c.rows
	c.chunk.Reset()
	c.rows = 0
	return chunk, rows
}

// maxChunk is the length of the longest chunk: one below the bound and the longest row.
const maxChunk = mostBytes + store.MaxKey + store.MaxValue + 2*binary.MaxVarintLen64

// splitRows takes a chunk apart. Every row is held to the store's limits, and keys ascend from after on.
func splitRows(chunk, after []byte) ([]store.Pair, error) {
	var pairs []store.Pair
	for len(chunk) > 0 {
		var p store.Pair
		var ok bool
		if p.Key, chunk, ok = cutPart(chunk, store.MaxKey); !ok {
			return nil, damaged("a row is cut")
		}
		if p.Value, chunk, ok = cutPart(chunk, store.MaxValue); !ok {
			return nil, damaged("a row is cut")
		}
		if after != nil && bytes.Compare(p.Key, after) <= 0 {
			return nil, damaged("rows are out of their order")
		}
		after = p.Key
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func cutPart(b []byte, most uint64) (part, rest []byte, ok bool) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > most || n > uint64(len(b)-width) || width > 1 && b[width-1] == 0 {
		return nil, nil, false
	}
	b = b[width:]
	return b[:n:n], b[n:], true
}
