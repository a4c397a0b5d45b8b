package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sandyq/sandyq/vault/blob"
)

// ChunkRef names a chunk in a listing.
type ChunkRef struct {
	ID    ChunkID
	Rows  uint32
	Bytes uint32 // of the plaintext
}

// BlobRef names a blob in a listing.
type BlobRef struct {
	ID     blob.ID
	Digest [sha256.Size]byte // of its bytes
	Size   uint64            // bytes
}

// The lengths of references, in bytes.
const (
	chunkRefSize = 32 + 4 + 4
	blobRefSize  = 16 + 32 + 8
)

func (c ChunkRef) encode() []byte {
	b := slices.Clone(c.ID[:])
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, c.Rows), c.Bytes)
}

func decodeChunkRef(b []byte) (c ChunkRef, err error) {
	if len(b) != chunkRefSize {
		return c, damaged("a reference of another length")
	}
	copy(c.ID[:], b)
	c.Rows, c.Bytes = binary.BigEndian.Uint32(b[32:]), binary.BigEndian.Uint32(b[36:])
	return c, nil
}

func (c ChunkRef) object() string { return chunkObject(c.ID) }

func chunkObject(id ChunkID) string {
	name := id.String()
	return chunksFolder + "/" + name[:2] + "/" + name
}

func (b BlobRef) encode() []byte {
	return binary.BigEndian.AppendUint64(slices.Concat(b.ID[:], b.Digest[:]), b.Size)
}

func decodeBlobRef(raw []byte) (b BlobRef, err error) {
	if len(raw) != blobRefSize {
		return b, damaged("a reference of another length")
	}
	copy(b.ID[:], raw)
	copy(b.Digest[:], raw[16:])
	b.Size = binary.BigEndian.Uint64(raw[48:])
	return b, nil
}

func (b BlobRef) object() string {
	id := b.ID.String()
	return fmt.Sprintf("%s/%s/%s.%s.%d", blobsFolder, id[:2], id, hex.EncodeToString(b.Digest[:]), b.Size)
}

// parseChunkObject reads a reference from an object's name; what the repository would not have named so is none. How many
// rows the chunk has stands in listings alone.
func parseChunkObject(name string) (ChunkID, bool) {
	var id ChunkID
	_, last, ok := cutLast(name)
	if !ok || !decodeHex(id[:], last) {
		return id, false
	}
	return id, chunkObject(id) == name
}

func parseBlobObject(name string) (BlobRef, bool) {
	var ref BlobRef
	_, last, ok := cutLast(name)
	parts := strings.Split(last, ".")
	if !ok || len(parts) != 3 || !decodeHex(ref.ID[:], parts[0]) || !decodeHex(ref.Digest[:], parts[1]) {
		return ref, false
	}
	var err error
	ref.Size, err = strconv.ParseUint(parts[2], 10, 63)
	return ref, err == nil && ref.object() == name
}

func cutLast(name string) (folder, last string, ok bool) {
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return "", "", false
	}
	return name[:at], name[at+1:], true
}

func decodeHex(to []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(to)) {
		return false
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}
