package vault

import (
	"maps"
	"slices"

	"github.com/sandyq/sandyq/vault/audit/certificate"
	"github.com/sandyq/sandyq/vault/schema"
)

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
