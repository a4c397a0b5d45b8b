package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"

	"github.com/sandyq/sandyq/vault/blob"
)

// Sender writes a backup as a stream: Row in ascending order, EndRows, Blob, Close, Commit. It is used by one goroutine and
// keeps one chunk in memory.
type Sender struct {
	w          io.Writer
	recipients Recipients
	have       *Have
	cutter     Cutter
	listing    hash.Hash
	sum        Summary
}

// NewSender begins a stream to w, of the vault of that id.
func NewSender(w io.Writer, vault string, recipients Recipients, have *Have) (*Sender, error) {
	s := &Sender{w: w, recipients: recipients, have: have, listing: sha256.New(), sum: Summary{Version: Version, Vault: vault}}
	return s, writeJSON(w, frameWelcome, Welcome{vault})
}

// Row takes the next row.
func (s *Sender) Row(key, value []byte) error {
	s.sum.Rows++
	if !s.cutter.Add(key, value) {
		return nil
	}
	return s.chunk()
}

// EndRows ends the rows.
func (s *Sender) EndRows() error { return s.chunk() }

func (s *Sender) chunk() error {
	plain, rows := s.cutter.Take()
	if rows == 0 {
		return nil
	}
	ref := ChunkRef{ID: sha256.Sum256(plain), Rows: uint32(rows), Bytes: uint32(len(plain))}
	s.sum.Chunks++
	s.sum.Bytes += int64(len(plain))
	if !s.have.chunk(ref.ID) {
		if err := s.encrypt(bytes.NewReader(plain), int64(len(plain))); err != nil {
			return err
		}
	}
	return s.list(frameChunk, ref.encode())
}

// Blob takes the next blob. The client is sent its bytes when it has no object of its id and size.
func (s *Sender) Blob(ctx context.Context, id blob.ID, r blob.Reader) error {
	ref, ok := s.have.blob(id, r.Size())
	if !ok {
		ref = BlobRef{ID: id, Size: uint64(r.Size())}
		digest := sha256.New()
		from := &interruptible{ctx, io.TeeReader(io.NewSectionReader(r, 0, r.Size()), digest)}
		if err := s.encrypt(from, r.Size()); err != nil {
			return fmt.Errorf("back up the blob %s: %w", id, err)
		}
		digest.Sum(ref.Digest[:0])
	}
	s.sum.Blobs++
	s.sum.BlobBytes += int64(ref.Size)
	return s.list(frameBlob, ref.encode())
}

// interruptible ends a reading with its context.
type interruptible struct {
	ctx context.Context // of the backup; looked at before each read
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// encrypt sends plain, which has size bytes, as an age file.
func (s *Sender) encrypt(plain io.Reader, size int64) error {
	to, err := age.Encrypt(dataWriter{s.w}, s.recipients...)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	n, err := io.Copy(to, plain)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return to.Close()
}

// dataWriter sends what is written as frames of data.
type dataWriter struct{ w io.Writer }

func (d dataWriter) Write(p []byte) (int, error) {
	for at := 0; at < len(p); at += maxFrame {
		if err := writeFrame(d.w, frameData, p[at:min(at+maxFrame, len(p))]); err != nil {
			return at, err
		}
	}
	return len(p), nil
}

// list adds a reference to the listing, and sends it.
func (s *Sender) list(kind frameKind, ref []byte) error {
	s.listing.Write(ref)
	return writeFrame(s.w, kind, ref)
}

// Close ends the listing and sends the manifest, of which m has what the Sender does not know. The header is the caller's to
// commit, once the log has the id.
func (s *Sender) Close(m Manifest) (*Header, error) {
	own := s.sum
	own.TakenAt, own.Gone, own.Lost = m.TakenAt, m.Gone, m.Lost
	own.Listing = hex.EncodeToString(s.listing.Sum(nil))
	m.Summary = own
	plain, err := m.encode()
	if err != nil {
		return nil, err
	}
	sealed, err := seal(plain, s.recipients)
	if err != nil {
		return nil, err
	}
	if len(sealed) > maxFrame {
		return nil, fmt.Errorf("the manifest has %d bytes", len(sealed))
	}
	return &Header{ID(sha256.Sum256(plain)).String(), own}, writeFrame(s.w, frameManifest, sealed)
}

// Commit ends the stream: from now on the snapshot is one.
func (s *Sender) Commit(h *Header) error { return writeJSON(s.w, frameHeader, h) }

// Fail ends the stream w with a problem, as the API writes them.
func Fail(w io.Writer, problem any) error { return writeJSON(w, frameFailure, problem) }
