package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

func snapshotObject(id string) string { return snapshotsFolder + "/" + id }
func listingObject(id string) string  { return listingsFolder + "/" + id }

// magic is the first line of a snapshot's file.
const magic = "sandyq-backup/1\n"

// snapshotOf writes the file of a snapshot.
func snapshotOf(h *Header, sealed []byte) ([]byte, error) {
	header, err := json.Marshal(h, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(magic), header, []byte("\n"), sealed), nil
}

// readHeader reads a snapshot's file: what it says, on nobody's word, and the manifest.
func (r *Repository) readHeader(ctx context.Context, id string) (*Header, []byte, error) {
	b, err := r.read(ctx, snapshotObject(id), 3*maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNoSnapshot
	}
	if err != nil {
		return nil, nil, err
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	text, sealed, whole := bytes.Cut(rest, []byte("\n"))
	if !ok || !whole {
		return nil, nil, damaged("%s is no snapshot", snapshotObject(id))
	}
	header, err := decodeHeader(text)
	if err != nil {
		return nil, nil, err
	}
	if header.ID != id {
		return nil, nil, damaged("%s is another snapshot's", snapshotObject(id))
	}
	return header, sealed, nil
}

// Snapshots lists the headers, the oldest first, on their own word. The names of files that cannot be read are in damaged.
func (r *Repository) Snapshots(ctx context.Context) (all []*Header, damaged []string, err error) {
	var ids []string
	err = r.objects.List(ctx, snapshotsFolder, func(name string, _ int64) error {
		ids = append(ids, strings.TrimPrefix(name, snapshotsFolder+"/"))
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the snapshots: %w", err)
	}
	for _, id := range ids {
		h, _, err := r.readHeader(ctx, id)
		switch {
		case errors.Is(err, ErrDamaged):
			damaged = append(damaged, snapshotObject(id))
		case err != nil:
			return nil, nil, err
		default:
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b *Header) int {
		if by := a.TakenAt.Compare(b.TakenAt); by != 0 {
			return by
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, damaged, nil
}

// listing is what a snapshot needs.
type listing struct {
	chunks []ChunkRef
	blobs  []BlobRef
}

// readListing reads the listing that a header's digest names.
func (r *Repository) readListing(ctx context.Context, h *Header) (*listing, error) {
	name := listingObject(h.ID)
	size := h.Chunks*chunkRefSize + h.Blobs*blobRefSize
	b, err := r.read(ctx, name, size)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged("%s is missing", name)
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); int64(len(b)) != size || hex.EncodeToString(sum[:]) != h.Listing {
		return nil, damaged("%s is not what was written", name)
	}
	l := &listing{make([]ChunkRef, h.Chunks), make([]BlobRef, h.Blobs)}
	for i := range l.chunks {
		if l.chunks[i], err = decodeChunkRef(b[:chunkRefSize]); err != nil {
			return nil, err
		}
		b = b[chunkRefSize:]
	}
	for i := range l.blobs {
		if l.blobs[i], err = decodeBlobRef(b[:blobRefSize]); err != nil {
			return nil, err
		}
		b = b[blobRefSize:]
	}
	return l, nil
}

// Snapshot is a snapshot whose manifest was opened.
type Snapshot struct {
	Header   *Header
	Manifest *Manifest

	repository *Repository
	identities Identities
	listing    *listing
}

// Latest is the id of the newest snapshot. When a file of one cannot be read, that is the error: it may be the newest.
func (r *Repository) Latest(ctx context.Context) (string, error) {
	all, broken, err := r.Snapshots(ctx)
	switch {
	case err != nil:
		return "", err
	case len(broken) > 0:
		return "", damaged("%s cannot be read: name the snapshot", broken[0])
	case len(all) == 0:
		return "", ErrNoSnapshot
	}
	return all[len(all)-1].ID, nil
}

// Snapshot opens a snapshot: its file, its manifest and its listing are what was written under this id.
func (r *Repository) Snapshot(ctx context.Context, id string, identities Identities) (*Snapshot, error) {
	want, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	h, sealed, err := r.readHeader(ctx, id)
	if err != nil {
		return nil, err
	}
	plain, err := open(bytes.NewReader(sealed), identities)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", snapshotObject(id), err)
	}
	b, err := io.ReadAll(io.LimitReader(plain, maxManifest))
	if err != nil || sha256.Sum256(b) != want {
		return nil, damaged("%s is not what was written", snapshotObject(id))
	}
	m, err := decodeManifest(b)
	if err != nil {
		return nil, err
	}
	if m.Summary != h.Summary {
		return nil, damaged("%s: the header says otherwise than the manifest", snapshotObject(id))
	}
	if r.config.Vault != m.Vault {
		return nil, ErrForeign
	}
	if r.config.Recipients != digestOf(m.Recipients) {
		return nil, damaged("its config is of other recipients")
	}
	s := &Snapshot{Header: h, Manifest: m, repository: r, identities: identities}
	s.listing, err = r.readListing(ctx, h)
	return s, err
}
