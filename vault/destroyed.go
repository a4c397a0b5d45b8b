package vault

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// goneRow is what one of a person's keys sealed, as of its destruction.
type goneRow struct {
	Values map[string]int `cbor:"1,keyasint,omitempty"` // by category; documents are of that of documents
	Parts  int            `cbor:"2,keyasint,omitempty"` // files of the documents
}

// countGone counts what the keys of an erasure sealed. The rows are there until the keys are known to be gone, and nobody
// adds to them, so it may be repeated.
func (s *Service) countGone(ctx context.Context, row *erasureRow) (map[string]goneRow, error) {
	sliceOf := map[kms.ID]string{}
	for slice, key := range row.Keys {
		sliceOf[key] = slice
	}
	var gone map[string]goneRow
	add := func(key kms.ID, category schema.Category, values, parts int) {
		slice, goes := sliceOf[key]
		if !goes {
			return // of a slice that stays
		}
		of := gone[slice]
		if of.Values == nil {
			of.Values = map[string]int{}
		}
		of.Values[string(category)] += values
		of.Parts += parts
		gone[slice] = of
	}
	err := s.Store.View(ctx, func(r store.Reader) error {
		gone = map[string]goneRow{}
		records := s.rows.of(kindRecord, row.Subject)
		err := scanAll(r, records, func(p store.Pair) error {
			rec, err := decodeRow[recordRow](p.Value)
			if err != nil {
				return err
			}
			field, _, _ := bytes.Cut(p.Key[len(records):], []byte{0})
			add(rec.Key, schema.Category(s.Schema.CategoryOf(string(field))), 1, 0)
			return nil
		})
		if err != nil {
			return err
		}
		return scanAll(r, s.rows.of(kindDocument, row.Subject), func(p store.Pair) error {
			doc, err := decodeRow[documentRow](p.Value)
			if err != nil {
				return err
			}
			for i, part := range doc.Parts {
				add(part.Key, schema.CategoryDocument, max(1-i, 0), 1)
			}
			return nil
		})
	})
	return gone, err
}

// destroyed is what an erasure destroyed, as its certificate and the log say it.
func (row *erasureRow) destroyed() certificate.Destroyed {
	d := certificate.Destroyed{
		Slices: []certificate.Slice{}, Tokens: row.Destroys.Tokens, IndexEntries: row.Destroys.Index,
	}
	for _, slice := range slices.Sorted(maps.Keys(row.Keys)) {
		gone := row.Gone[slice]
		of := certificate.Slice{Slice: slice, Key: row.Keys[slice].String(), Parts: gone.Parts}
		for category, n := range gone.Values {
			switch schema.Category(category) {
			case schema.CategoryIdentity:
				of.Values.Identity += n
			case schema.CategoryContact:
				of.Values.Contact += n
			case schema.CategoryAddress:
				of.Values.Address += n
			case schema.CategoryDocument:
				of.Values.Document += n
			default:
				of.Values.Other += n
			}
		}
		d.Slices = append(d.Slices, of)
	}
	return d
}
