package backup

import (
	"context"
	"io"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
)

// Fill writes all of the snapshot into a store and a blob store that are empty, and tells which blobs it wrote. progress, unless
// nil, is told the bytes written since the last time. After an error part of the snapshot is there.
func (s *Snapshot) Fill(ctx context.Context, rows store.Store, blobs blob.Store, progress func(bytes int64)) (map[blob.ID]bool, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	if err := s.Rows(ctx, func(pairs []store.Pair) error { return fillRows(ctx, rows, pairs, progress) }); err != nil {
		return nil, err
	}
	wrote := map[blob.ID]bool{}
	err := s.Blobs(ctx, func(ref BlobRef, content io.Reader) error {
		wrote[ref.ID] = true
		return fillBlob(ctx, blobs, ref, content, progress)
	})
	return wrote, err
}

func fillRows(ctx context.Context, to store.Store, pairs []store.Pair, progress func(int64)) error {
	var n int64
	err := to.Update(ctx, func(w store.Writer) error {
		n = 0
		for _, p := range pairs {
			n += int64(len(p.Key) + len(p.Value))
			if err := w.Set(p.Key, p.Value); err != nil {
				return err
			}
		}
		return nil
	})
	progress(n)
	return err
}

func fillBlob(ctx context.Context, to blob.Store, ref BlobRef, content io.Reader, progress func(int64)) error {
	w, err := to.Create(ctx, ref.ID)
	if err != nil {
		return err
	}
	defer w.Abort()
	n, err := io.Copy(w, content)
	progress(n)
	if err != nil {
		return err
	}
	return w.Commit()
}
