package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/sandyq/sandyq/vault/store"
)

// Rows calls f with the rows of one chunk after the other, all of them ascending. A chunk's rows fit one Update.
func (s *Snapshot) Rows(ctx context.Context, f func([]store.Pair) error) error {
	var last []byte
	var rows, bytes int64
	for _, ref := range s.listing.chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		pairs, err := s.chunk(ctx, ref, last)
		if err != nil {
			return fmt.Errorf("%s: %w", ref.object(), err)
		}
		last = pairs[len(pairs)-1].Key
		rows, bytes = rows+int64(len(pairs)), bytes+int64(ref.Bytes)
		if err := f(pairs); err != nil {
			return err
		}
	}
	if rows != s.Manifest.Rows || bytes != s.Manifest.Bytes {
		return damaged("the chunks hold %d rows in %d bytes, and the manifest says %d in %d", rows, bytes, s.Manifest.Rows, s.Manifest.Bytes)
	}
	return nil
}

// chunk reads a chunk whose rows follow the key last.
func (s *Snapshot) chunk(ctx context.Context, ref ChunkRef, last []byte) (_ []store.Pair, err error) {
	f, plain, err := s.object(ctx, ref.object())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(plain, maxChunk+1))
	if err != nil || len(b) != int(ref.Bytes) || sha256.Sum256(b) != ref.ID {
		return nil, damaged("it is not what was written")
	}
	pairs, err := splitRows(b, last)
	if err == nil && (len(pairs) != int(ref.Rows) || len(pairs) == 0) {
		err = damaged("it has %d rows and not %d", len(pairs), ref.Rows)
	}
	return pairs, err
}

// object opens an object and begins to decrypt it. Whoever reads to the end has read what somebody encrypted: whether it is
// what this snapshot needs, its digest says.
func (s *Snapshot) object(ctx context.Context, name string) (io.Closer, io.Reader, error) {
	f, err := s.repository.objects.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, damaged("it is missing")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the repository: %w", err)
	}
	plain, err := open(f, s.identities)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, plain, nil
}

// Blobs calls f for every blob, with a reader of its bytes, which fails at its end unless they are what was written.
func (s *Snapshot) Blobs(ctx context.Context, f func(BlobRef, io.Reader) error) error {
	var bytes int64
	for _, ref := range s.listing.blobs {
		if err := s.blob(ctx, ref, f); err != nil {
			return fmt.Errorf("%s: %w", ref.object(), err)
		}
		bytes += int64(ref.Size)
	}
	if bytes != s.Manifest.BlobBytes {
		return damaged("the blobs have %d bytes, and the manifest says %d", bytes, s.Manifest.BlobBytes)
	}
	return nil
}

func (s *Snapshot) blob(ctx context.Context, ref BlobRef, f func(BlobRef, io.Reader) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, plain, err := s.object(ctx, ref.object())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return f(ref, &heldTo{r: &interruptible{ctx, plain}, ref: ref, digest: sha256.New()})
}

// heldTo reads what must be a blob.
type heldTo struct {
	r      io.Reader
	ref    BlobRef
	digest hash.Hash
	read   uint64
}

func (h *heldTo) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.digest.Write(p[:n])
	h.read += uint64(n)
	switch {
	case h.read > h.ref.Size:
		return 0, damaged("it is longer than what was written")
	case err == io.EOF && (h.read != h.ref.Size || [sha256.Size]byte(h.digest.Sum(nil)) != h.ref.Digest):
		return 0, damaged("it is not what was written")
	case err != nil && err != io.EOF && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return 0, fmt.Errorf("%w: %w", damaged("it does not decrypt"), err)
	}
	return n, err
}

// Check reads all that the snapshot needs, and holds it to what was written. progress, unless nil, is told of the bytes read.
func (s *Snapshot) Check(ctx context.Context, progress func(bytes int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	err := s.Rows(ctx, func(pairs []store.Pair) error {
		var n int64
		for _, p := range pairs {
			n += int64(len(p.Key) + len(p.Value))
		}
		progress(n)
		return nil
	})
	if err != nil {
		return err
	}
	return s.Blobs(ctx, func(_ BlobRef, r io.Reader) error {
		n, err := io.Copy(io.Discard, r)
		progress(n)
		return err
	})
}
