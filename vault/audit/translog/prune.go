package translog

import (
	"bytes"
	"context"
	"time"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// Prune removes the entries of whole leading bundles that were made before a time, at most limit bundles, and what points at
// them, and returns how many entries it removed. The tree keeps every hash: what was proved stays proved, and who holds an
// entry can still have it proved.
func (l *Log) Prune(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	for range limit {
		n, err := l.pruneOne(ctx, audit.FirstID(before))
		if err != nil || n == 0 {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

func (l *Log) pruneOne(ctx context.Context, before audit.ID) (int, error) {
	var bundle int64
	var gone [][]byte
	err := l.Store.View(ctx, func(r store.Reader) error {
		gone = nil
		head, err := l.head(r)
		if err != nil {
			return err
		}
		if bundle, err = l.prunedBundles(r); err != nil || (bundle+1)*checkpoint.Width > sizeOf(head) {
			return err
		}
		ids, err := l.bundleIDs(r, bundle)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if bytes.Compare(id[:], before[:]) >= 0 {
				return nil
			}
		}
		entries, err := l.entries(r, ids)
		if err != nil {
			return err
		}
		for i, id := range ids {
			beside, err := l.Rows.Beside(id, entries[i])
			if err != nil {
				return err
			}
			gone = append(append(gone, l.Rows.Entry(id)), beside...)
		}
		gone = append(gone, l.idsKey(bundle))
		return nil
	})
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	err = l.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		if now, err := l.prunedBundles(w); err != nil || now != bundle {
			return err // another node was faster
		}
		for _, key := range gone {
			if err := w.Delete(bytes.Clone(key)); err != nil {
				return err
			}
		}
		return w.Set(l.key(kindPruned), number(bundle+1))
	})
	return checkpoint.Width, err
}

// prunedBundles is how many leading bundles have no entries any more.
func (l *Log) prunedBundles(r store.Reader) (int64, error) {
	values, err := r.Get(l.key(kindPruned))
	if err != nil || values[0] == nil {
		return 0, err
	}
	return parseNumber(values[0])
}
