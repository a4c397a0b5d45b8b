package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/blob"
)

// maxAsk bounds a request frame, in bytes, and maxHave the objects that a client may say it has: of 48 bytes each in memory.
const (
	maxAsk  = 64 << 10
	maxHave = 20_000_000
)

// Request is the server's end of what a client asks.
type Request struct {
	Ask
	rest *frames
}

// ReadRequest reads how a client begins. The error says what is wrong with it and repeats nothing.
func ReadRequest(r io.Reader) (*Request, error) {
	f := &frames{r: r}
	kind, payload, err := f.next(maxAsk)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	req := &Request{rest: f}
	if kind != frameAsk || json.Unmarshal(payload, &req.Ask, json.RejectUnknownMembers(true)) != nil {
		return nil, errors.New("the first frame is no request")
	}
	return req, nil
}

// Have is what a repository has.
type Have struct {
	chunks []ChunkID
	blobs  []BlobRef
}

// ReadHave reads the rest of the request.
func (r *Request) ReadHave() (*Have, error) {
	h := &Have{}
	for {
		kind, payload, err := r.rest.next(blobRefSize)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read what the client has: %w", err)
		}
		switch kind {
		case frameChunk:
			ref, err := decodeChunkRef(payload)
			if err != nil {
				return nil, err
			}
			h.chunks = append(h.chunks, ref.ID)
		case frameBlob:
			ref, err := decodeBlobRef(payload)
			if err != nil {
				return nil, err
			}
			h.blobs = append(h.blobs, ref)
		default:
			return nil, errors.New("a frame that no request has")
		}
		if len(h.chunks)+len(h.blobs) > maxHave {
			return nil, errors.New("the repository has too many objects: begin a new one")
		}
	}
	slices.SortFunc(h.chunks, func(a, b ChunkID) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(h.blobs, func(a, b BlobRef) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return h, nil
}

func (h *Have) chunk(id ChunkID) bool {
	_, ok := slices.BinarySearchFunc(h.chunks, id, func(a, b ChunkID) int { return bytes.Compare(a[:], b[:]) })
	return ok
}

// blob is the reference under which the client has a blob of this size.
func (h *Have) blob(id blob.ID, size int64) (BlobRef, bool) {
	at, _ := slices.BinarySearchFunc(h.blobs, id, func(b BlobRef, id blob.ID) int { return bytes.Compare(b.ID[:], id[:]) })
	for ; at < len(h.blobs) && h.blobs[at].ID == id; at++ {
		if h.blobs[at].Size == uint64(size) {
			return h.blobs[at], true
		}
	}
	return BlobRef{}, false
}
