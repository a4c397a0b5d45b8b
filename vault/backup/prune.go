package backup

import (
	"context"
	"fmt"
)

// Pruned is what a pruning came to.
type Pruned struct {
	Kept    int   `json:"kept"`    // snapshots
	Removed int   `json:"removed"` // snapshots
	Objects int   `json:"objects"` // that no kept snapshot needs, removed
	Bytes   int64 `json:"bytes"`   // of these, as they lay there
}

// Prune removes all but the newest keep snapshots, and then what none of these needs, unfinished backups included. It needs
// no identity. When a snapshot's file or listing is damaged it removes nothing: nobody can tell what that one needs.
func (r *Repository) Prune(ctx context.Context, keep int) (*Pruned, error) {
	all, broken, err := r.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	if len(broken) > 0 {
		return nil, damaged("%s cannot be read: remove it by hand if it is past saving", broken[0])
	}
	gone := all[:max(0, len(all)-keep)]
	kept := all[len(gone):]
	needed := map[string]bool{}
	for _, h := range kept {
		if err := r.need(ctx, h, needed); err != nil {
			return nil, err
		}
	}
	done := &Pruned{Kept: len(kept), Removed: len(gone)}
	for _, h := range gone {
		if err := r.objects.Remove(ctx, snapshotObject(h.ID)); err != nil {
			return nil, err
		}
	}
	if err := r.objects.Flush(ctx); err != nil { // no snapshot outlives what it needs
		return nil, err
	}
	for _, folder := range []string{listingsFolder, chunksFolder, blobsFolder} {
		if err := r.pruneFolder(ctx, folder, needed, done); err != nil {
			return nil, err
		}
	}
	return done, r.objects.Flush(ctx)
}

// need marks what a snapshot needs.
func (r *Repository) need(ctx context.Context, h *Header, needed map[string]bool) error {
	l, err := r.readListing(ctx, h)
	if err != nil {
		return err
	}
	needed[listingObject(h.ID)] = true
	for _, ref := range l.chunks {
		needed[ref.object()] = true
	}
	for _, ref := range l.blobs {
		needed[ref.object()] = true
	}
	return nil
}

func (r *Repository) pruneFolder(ctx context.Context, folder string, needed map[string]bool, done *Pruned) error {
	var surplus []string
	err := r.objects.List(ctx, folder, func(name string, size int64) error {
		if !needed[name] {
			surplus = append(surplus, name)
			done.Bytes += size
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the repository: %w", err)
	}
	for _, name := range surplus {
		if err := r.objects.Remove(ctx, name); err != nil {
			return err
		}
		done.Objects++
	}
	return nil
}
