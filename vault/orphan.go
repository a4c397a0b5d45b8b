package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
)

const (
	// orphanAge is from when a blob that no row knows of is taken for lost. It is far longer than an upload lives: who restores an
	// older store, and then finds a newer one, still has what that one names.
	orphanAge = 7 * 24 * time.Hour
	// orphansEvery is how often they are looked for.
	orphansEvery = 24 * time.Hour
	// orphansAtOnce is how many blobs' ids are held at the same time, 16 bytes each; of more a part is looked at each time.
	orphansAtOnce = 1 << 20
)

// orphans are blobs that no row of any tenant knows of: of an upload that went on after its row was taken, because its node stood
// still, or whose removal was cut short. They are ciphertext that nobody finds when its person is erased. The tenant that is the first
// in the store looks for them, for all. The sweeper owns it.
//
// Two vaults must not keep their documents in one place. Should they, each would take the other's for lost: so each leaves a marker
// there, a blob that its own rows name, and whoever meets a marker that is not its own, of whatever age, removes nothing.
type orphans struct {
	due   time.Time // when to look next; a day after the start at first
	parts uint64    // of the ids, in turn; a power of two
	part  uint64
}

const (
	metaDocuments = "documents" // → markersRow
	markerText    = "sandyq: the documents of a vault lie here\n"
)

// markersRow names the marker of a tenant.
type markersRow struct {
	Marker blob.ID `cbor:"1,keyasint"`
}

// errForeignDocuments: another vault keeps its documents in the same place.
var errForeignDocuments = errors.New("another vault keeps its documents in the same place: give each its own; nothing is removed meanwhile")

// sweepOrphans finds blobs that no row knows of, and has them removed as an abandoned upload is.
func (s *Service) sweepOrphans(ctx context.Context) error {
	o, now := &s.orphans, s.Clock()
	if o.due.IsZero() {
		o.due = now.Add(orphansEvery)
	}
	if now.Before(o.due) {
		return nil
	}
	tenants, err := s.tenantsInStore(ctx)
	if err != nil || tenants[0].tenant != s.Tenant {
		return err
	}
	if err := s.leaveMarker(ctx); err != nil {
		return err
	}
	old, err := s.oldBlobs(ctx, stampOf(now.Add(-orphanAge)))
	if err != nil {
		return err
	}
	if old, err = s.unknown(ctx, tenants, old); err != nil {
		return err
	}
	if len(old) > 0 {
		if err := s.alone(ctx, tenants); err != nil {
			return err
		}
		if err := s.adopt(ctx, old); err != nil {
			return err
		}
	}
	o.due, o.part = now.Add(orphansEvery), (o.part+1)%o.parts
	return nil
}

// tenantsInStore are the layouts of all whose rows lie in the store, in the order of their keys.
func (s *Service) tenantsInStore(ctx context.Context) (all []layout, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		all = nil
		for after := []byte(nil); ; {
			found, err := r.Scan(nil, after, 1)
			if err != nil || len(found) == 0 {
				return err
			}
			key := found[0].Key
			if len(key) < 1 || len(key) < 2+int(key[0]) {
				return errors.New("a key of the store is none of ours")
			}
			l := layout{string(key[1 : 1+int(key[0])])}
			all = append(all, l)
			after = l.key(0xff) // beyond every kind
		}
	})
	if err == nil && len(all) == 0 {
		err = errors.New("the store is empty")
	}
	return all, err
}

// leaveMarker leaves this vault's marker among the blobs, once.
func (s *Service) leaveMarker(ctx context.Context) error {
	key := s.rows.meta(metaDocuments)
	var row *markersRow
	if err := s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[markersRow](r, key)
		return err
	}); err != nil {
		return err
	}
	if row == nil {
		fresh := markersRow{blob.NewID()}
		if err := s.Store.Update(ctx, func(w store.Writer) error {
			there, err := getRow[markersRow](w, key)
			if err != nil || there != nil {
				row = there
				return err
			}
			row = &fresh
			return w.Set(key, encodeRow(fresh))
		}); err != nil {
			return err
		}
	}
	b, err := s.Blobs.Open(ctx, row.Marker)
	if err == nil {
		return b.Close()
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	w, err := s.Blobs.Create(ctx, row.Marker)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.WriteString(w, markerText); err != nil {
		return err
	}
	return w.Commit()
}

// oldBlobs lists, in order, the ids of this turn's part that are older than that. A part that is too large is halved.
func (s *Service) oldBlobs(ctx context.Context, than stamp) (old []blob.ID, err error) {
	o := &s.orphans
	o.parts = max(o.parts, 1)
	in := func(id blob.ID) bool { return binary.BigEndian.Uint64(id[:])%o.parts == o.part }
	err = s.Blobs.List(ctx, func(i blob.Info) error {
		if stampOf(i.Modified) >= than || !in(i.ID) {
			return nil
		}
		if old = append(old, i.ID); len(old) > orphansAtOnce {
			o.parts *= 2
			old = slices.DeleteFunc(old, func(id blob.ID) bool { return !in(id) })
		}
		return nil
	})
	slices.SortFunc(old, compareBlobs)
	return slices.Compact(old), err
}

func compareBlobs(a, b blob.ID) int { return bytes.Compare(a[:], b[:]) }

// unknown leaves of sorted ids those that no row names. Uploads are looked at before documents: one that is committed in between
// is then found there.
func (s *Service) unknown(ctx context.Context, tenants []layout, ids []blob.ID) ([]blob.ID, error) {
	known := make([]bool, len(ids))
	know := func(id blob.ID) {
		if i, found := slices.BinarySearchFunc(ids, id, compareBlobs); found {
			known[i] = true
		}
	}
	for _, kind := range []byte{kindUpload, kindDocument} {
		for _, of := range tenants {
			if err := s.eachBlob(ctx, of, kind, know); err != nil {
				return nil, err
			}
		}
	}
	var lost []blob.ID
	for i, id := range ids {
		if !known[i] {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// alone looks through all blobs, of any age and part, for the marker of another vault: whose documents may be old where its marker
// is young. What is as long as a marker is read.
func (s *Service) alone(ctx context.Context, tenants []layout) error {
	ours := map[blob.ID]bool{}
	if err := s.Store.View(ctx, func(r store.Reader) error {
		for _, of := range tenants {
			row, err := getRow[markersRow](r, of.meta(metaDocuments))
			if err != nil {
				return err
			}
			if row != nil {
				ours[row.Marker] = true
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return s.Blobs.List(ctx, func(i blob.Info) error {
		if i.Partial || i.Size != int64(len(markerText)) || ours[i.ID] {
			return nil
		}
		foreign, err := s.isMarker(ctx, i.ID)
		if err == nil && foreign {
			err = errForeignDocuments
		}
		return err
	})
}

// eachBlob calls f with the blobs that rows of a kind name, and with the tenant's marker.
func (s *Service) eachBlob(ctx context.Context, of layout, kind byte, f func(blob.ID)) error {
	return s.Store.View(ctx, func(r store.Reader) error {
		marker, err := getRow[markersRow](r, of.meta(metaDocuments))
		if err != nil {
			return err
		}
		if marker != nil {
			f(marker.Marker)
		}
		prefix := of.key(kind)
		return scanAll(r, prefix, func(p store.Pair) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if kind == kindUpload {
				f(blob.ID(p.Key[len(prefix):]))
				return nil
			}
			row, err := decodeRow[documentRow](p.Value)
			if err != nil {
				return fmt.Errorf("a document's row: %w", err)
			}
			for _, part := range row.Parts {
				f(part.Blob)
			}
			return nil
		})
	})
}

// adopt gives lost blobs rows of uploads that have lapsed, for sweepUploads to remove: of nobody, and so maybe of anybody.
func (s *Service) adopt(ctx context.Context, lost []blob.ID) error {
	for some := range slices.Chunk(lost, 50) {
		if err := s.Store.Update(ctx, func(w store.Writer) error {
			for _, id := range some {
				if err := w.Set(s.rows.upload(id), encodeRow(uploadRow{Until: 1})); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	s.Log.WarnContext(ctx, "blobs of documents that no row knows of are removed", "blobs", len(lost))
	return nil
}

// isMarker reports whether a blob is a vault's marker.
func (s *Service) isMarker(ctx context.Context, id blob.ID) (bool, error) {
	b, err := s.Blobs.Open(ctx, id)
	if errors.Is(err, blob.ErrNotFound) { // not committed, or removed and kept
		return false, nil
	}
	if err != nil {
		return false, err
	}
	content := make([]byte, len(markerText))
	n, err := 0, error(nil)
	if b.Size() == int64(len(markerText)) {
		n, err = b.ReadAt(content, 0)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(content[:n]) == markerText, errors.Join(err, b.Close())
}
