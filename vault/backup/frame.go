package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
)

// MediaType is that of streams.
const MediaType = "application/vnd.sandyq.backup"

// frameKind is what a frame carries.
type frameKind byte

// The kinds of frames.
const (
	frameAsk      frameKind = 'q' // client: Ask in JSON, the first
	frameWelcome  frameKind = 'w' // server: Welcome in JSON, the first
	frameChunk    frameKind = 'c' // both: a chunk's reference; from the server, the object that its data was of
	frameBlob     frameKind = 'b' // both: likewise of a blob
	frameData     frameKind = 'd' // server: a piece of an age file
	frameManifest frameKind = 'm' // server: the manifest, sealed
	frameHeader   frameKind = 'h' // server: Header in JSON; the end
	frameFailure  frameKind = 'x' // server: why there is no more, as the API's problem in JSON; the end
)

const (
	frameHead = 5
	maxFrame  = 1 << 20
)

// Ask is how a client begins.
type Ask struct {
	Vault      string   `json:"vault,omitempty"` // the repository's; empty for a new one
	Recipients []string `json:"recipients"`      // age1…
}

// WriteAsk writes how a client begins that has nothing.
func WriteAsk(w io.Writer, a Ask) error { return writeJSON(w, frameAsk, a) }

// Welcome is how the server begins.
type Welcome struct {
	Vault string `json:"vault"`
}

// writeFrame writes a frame in one piece.
func writeFrame(w io.Writer, kind frameKind, payload []byte) error {
	if len(payload) > maxFrame {
		return errors.New("a frame is too long")
	}
	b := make([]byte, frameHead, frameHead+len(payload))
	b[0] = byte(kind)
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

func writeJSON(w io.Writer, kind frameKind, v any) error {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	return writeFrame(w, kind, b)
}

// frames reads frames.
type frames struct {
	r   io.Reader
	buf []byte
}

// next reads a frame, whose payload holds until the next call. io.EOF: there is none.
func (f *frames) next(most int) (kind frameKind, payload []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > uint32(most) {
		return 0, nil, fmt.Errorf("a frame of %d bytes where at most %d may be", n, most)
	}
	if cap(f.buf) < int(n) {
		f.buf = make([]byte, n)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return frameKind(head[0]), f.buf, nil
}
