package translog

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// Head is the tree of the last checkpoint. It fails with ErrAbsent when none was signed yet.
func (l *Log) Head(ctx context.Context) (checkpoint.Tree, error) {
	note, err := l.Checkpoint(ctx)
	if err != nil {
		return checkpoint.Tree{}, err
	}
	return treeOf(note)
}

// treeOf reads a checkpoint of our own.
func treeOf(note []byte) (checkpoint.Tree, error) {
	tree, err := checkpoint.ReadTree(note)
	if err != nil {
		return checkpoint.Tree{}, damaged("the last checkpoint")
	}
	return tree, nil
}

// Checkpoint is the last checkpoint, a signed note. It fails with ErrAbsent when none was signed yet.
func (l *Log) Checkpoint(ctx context.Context) (note []byte, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		head, err := l.head(r)
		if err == nil && head == nil {
			err = ErrAbsent
		}
		if err == nil {
			note = head.Note
		}
		return err
	})
	return note, err
}

// PublicKeys are those that sign for the log now, the current one first. It fails with ErrAbsent before any does.
func (l *Log) PublicKeys(ctx context.Context) (keys []checkpoint.Key, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		keys = nil
		state, _, err := l.state(r)
		if err == nil && (state == nil || len(state.Keys) == 0) {
			err = ErrAbsent
		}
		if err != nil {
			return err
		}
		for _, s := range l.signers(state) {
			keys = append(keys, s.Key())
		}
		return nil
	})
	return keys, err
}

// Successions are all the log's, in order, as signed notes.
func (l *Log) Successions(ctx context.Context) (notes [][]byte, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		notes = nil
		state, _, err := l.state(r)
		if err != nil || state == nil {
			return err
		}
		for n := range state.Successions {
			values, err := r.Get(l.successionKey(n))
			if err != nil {
				return err
			}
			if values[0] == nil {
				return damaged("a succession is gone")
			}
			notes = append(notes, bytes.Clone(values[0]))
		}
		return nil
	})
	return notes, err
}

// Prove shows that an entry whose leaf was placed is in the log, by the last checkpoint; an entry that it does not cover yet is
// first taken into the tree, and that signed. The entry is nil once it was pruned. It fails with ErrUnknown when there is no
// such entry, and with ErrQuorum while the checkpoint that covers it waits for witnesses.
func (l *Log) Prove(ctx context.Context, id audit.ID) (p checkpoint.InclusionProof, entry []byte, err error) {
	found, held := false, false
	look := func(r store.Reader) error {
		found, held = false, false
		head, err := l.head(r)
		if err != nil {
			return err
		}
		values, err := r.Get(l.placeKey(id), l.Rows.Entry(id))
		if err != nil || values[0] == nil {
			return err
		}
		index, err := parseNumber(values[0])
		if held = l.Quorum > 0 && index >= sizeOf(head); err != nil || index >= sizeOf(head) {
			return err
		}
		hashes, err := tlog.ProveRecord(head.Size, index, l.hashes(r))
		if err != nil {
			return fmt.Errorf("translog: prove an entry: %w", err)
		}
		p = checkpoint.InclusionProof{Index: index, Hashes: hashes, Checkpoint: head.Note}
		entry, found = bytes.Clone(values[1]), true
		return nil
	}
	if err := l.Store.View(ctx, look); err != nil || found {
		return p, entry, err
	}
	if _, err := l.flush(ctx, true); err != nil {
		return p, nil, err
	}
	if err := l.Store.View(ctx, look); err != nil {
		return p, nil, err
	}
	switch {
	case held:
		return p, nil, ErrQuorum
	case !found:
		return p, nil, ErrUnknown
	}
	return p, entry, nil
}

// Consistency shows that the tree of size from is the beginning of the tree of size to. Both are at most that of the last
// checkpoint; otherwise it fails with ErrAbsent.
func (l *Log) Consistency(ctx context.Context, from, to int64) (proof tlog.TreeProof, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		head, err := l.head(r)
		if err != nil {
			return err
		}
		if from < 1 || to < from || to > sizeOf(head) {
			return ErrAbsent
		}
		proof, err = tlog.ProveTree(to, from, l.hashes(r))
		return err
	})
	return proof, err
}

// Tile is the bytes of a tile or bundle that the last checkpoint covers, as c2sp.org/tlog-tiles gives them. It fails with
// ErrAbsent for another, and for a bundle that was pruned.
func (l *Log) Tile(ctx context.Context, t checkpoint.Tile) (data []byte, err error) {
	err = l.Store.View(ctx, func(r store.Reader) error {
		head, err := l.head(r)
		if err != nil {
			return err
		}
		if t.Width < 1 || t.Width > checkpoint.Width || t.Index < 0 || t.End() > sizeOf(head) {
			return ErrAbsent
		}
		if t.Level == checkpoint.Entries {
			data, err = l.bundle(r, t)
			return err
		}
		values, err := r.Get(l.tileKey(t.Level, t.Index))
		if err != nil {
			return err
		}
		if len(values[0]) < t.Width*tlog.HashSize {
			return damaged("a tile is gone")
		}
		data = bytes.Clone(values[0][:t.Width*tlog.HashSize])
		return nil
	})
	return data, err
}

// bundle makes a bundle of its entries.
func (l *Log) bundle(r store.Reader, t checkpoint.Tile) ([]byte, error) {
	pruned, err := l.prunedBundles(r)
	if err != nil {
		return nil, err
	}
	if t.Index < pruned {
		return nil, ErrAbsent
	}
	ids, err := l.bundleIDs(r, t.Index)
	if err != nil {
		return nil, err
	}
	if len(ids) < t.Width {
		return nil, damaged("the ids of a bundle")
	}
	entries, err := l.entries(r, ids[:t.Width])
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, e := range entries {
		if data, err = checkpoint.AppendEntry(data, e); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (l *Log) entries(r store.Reader, ids []audit.ID) ([][]byte, error) {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = l.Rows.Entry(id)
	}
	entries, err := r.Get(keys...)
	if err == nil && slices.ContainsFunc(entries, func(e []byte) bool { return e == nil }) {
		err = damaged("an entry is gone")
	}
	return entries, err
}

func (l *Log) bundleIDs(r store.Reader, bundle int64) ([]audit.ID, error) {
	values, err := r.Get(l.idsKey(bundle))
	if err != nil {
		return nil, err
	}
	if len(values[0])%16 != 0 || len(values[0]) == 0 {
		return nil, damaged("the ids of a bundle")
	}
	ids := make([]audit.ID, 0, len(values[0])/16)
	for b := values[0]; len(b) > 0; b = b[16:] {
		ids = append(ids, audit.ID(b[:16]))
	}
	return ids, nil
}

// idAt is the id of the entry at an index that was not pruned.
func (l *Log) idAt(r store.Reader, index int64) (audit.ID, error) {
	ids, err := l.bundleIDs(r, index/checkpoint.Width)
	if err != nil {
		return audit.ID{}, err
	}
	if int(index%checkpoint.Width) >= len(ids) {
		return audit.ID{}, damaged("the ids of a bundle")
	}
	return ids[index%checkpoint.Width], nil
}

// hashes reads hashes of the tree from its tiles.
func (l *Log) hashes(r store.Reader) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			t := tlog.TileForIndex(checkpoint.Height, index)
			values, err := r.Get(l.tileKey(t.L, t.N))
			if err != nil {
				return nil, err
			}
			if hashes[i], err = tlog.HashFromTile(t, values[0], index); err != nil {
				return nil, damaged("a tile is gone")
			}
		}
		return hashes, nil
	})
}
