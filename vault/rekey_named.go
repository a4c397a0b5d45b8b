package vault

import (
	"context"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// keysIn calls f with the ids of all keys that rows of a store name, some at a time: those of people, of proofs, the vault's own, those that
// earlier moves made, those that were made ahead, and those that are about to be destroyed. f may take its time; what is written meanwhile may be passed over.
func keysIn(ctx context.Context, s store.Store, rows layout, f func([]kms.ID) error) error {
	for _, of := range []struct {
		prefix []byte
		named  func(store.Pair) ([]kms.ID, error)
	}{
		{rows.key(kindSubject), keysOfSubject},
		{rows.key(kindErasure), keysOfErasure},
		{rows.key(kindProof), keysOfProof},
		{rows.key(kindMeta, []byte(metaEpoch)), keysOfName},
		{rows.key(kindMeta, []byte(onceKeyPrefix)), keysOfName},
		{rows.meta(metaSigners), keysOfMoves},
		{rows.key(kindPool), func(p store.Pair) ([]kms.ID, error) { return []kms.ID{kms.ID(p.Key[len(p.Key)-len(kms.ID{}):])}, nil }},
	} {
		if err := keysUnder(ctx, s, of.prefix, of.named, f); err != nil {
			return err
		}
	}
	return nil
}

func keysUnder(ctx context.Context, s store.Store, prefix []byte, named func(store.Pair) ([]kms.ID, error), f func([]kms.ID) error) error {
	var ids []kms.ID
	return pagesUnder(ctx, s, prefix, func(_ store.Reader, pairs []store.Pair) error {
		ids = ids[:0]
		for _, p := range pairs {
			some, err := named(p)
			if err != nil {
				return err
			}
			ids = append(ids, some...)
		}
		return nil
	}, func() error { return f(ids) })
}

// pagesUnder reads the rows under a prefix, some at a time: what read makes of them, which may be called again, then is for when the store is
// not held any more.
func pagesUnder(ctx context.Context, s store.Store, prefix []byte, read func(store.Reader, []store.Pair) error, then func() error) error {
	const page = 256
	var after []byte
	for ended := false; !ended; {
		var next []byte
		err := s.View(ctx, func(r store.Reader) error {
			pairs, err := r.Scan(prefix, after, page)
			if err != nil {
				return err
			}
			if ended = len(pairs) < page; !ended {
				next = append([]byte(nil), pairs[page-1].Key...)
			}
			return read(r, pairs)
		})
		if err != nil {
			return err
		}
		after = next
		if err := then(); err != nil {
			return err
		}
	}
	return nil
}

func keysOfSubject(p store.Pair) ([]kms.ID, error) {
	row, err := decodeSubject(p.Value)
	if err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(row.everyKey())), nil
}

// keysOfErasure are those of one that has not destroyed them yet.
func keysOfErasure(p store.Pair) ([]kms.ID, error) {
	row, err := decodeRow[erasureRow](p.Value)
	if err != nil || row.State != api.ErasureErasing {
		return nil, err
	}
	return slices.Collect(maps.Values(row.Keys)), nil
}

func keysOfProof(p store.Pair) ([]kms.ID, error) {
	row, err := decodeRow[proofRow](p.Value)
	if err != nil {
		return nil, err
	}
	return []kms.ID{row.Key}, nil
}

func keysOfName(p store.Pair) ([]kms.ID, error) {
	row, err := decodeRow[namedRow](p.Value)
	if err != nil {
		return nil, err
	}
	return []kms.ID{row.Key}, nil
}

// keysOfMoves are those by which a provider says that a move to it has ended.
func keysOfMoves(p store.Pair) (ids []kms.ID, err error) {
	row, err := decodeRow[signersRow](p.Value)
	if err != nil {
		return nil, err
	}
	for _, was := range row.Former {
		ids = append(ids, was.Ended)
	}
	return ids, nil
}
