package vault

import (
	"maps"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
)

// What an erasure destroys is counted as it comes and goes, in the person's row, and not when the erasure begins: until the keys are
// gone nothing takes the longer the more there is.

// goneRow is what one of a person's keys seals, or sealed when it was destroyed.
type goneRow struct {
	Values map[string]int `cbor:"1,keyasint,omitempty"` // by category; documents are of that of documents
	Parts  int            `cbor:"2,keyasint,omitempty"` // files of the documents
}

// plus is the sum. A value goes from the category that its field has, or from another when it had another once.
func (g goneRow) plus(category string, values, parts int) goneRow {
	g.Parts += parts
	g.Values = maps.Clone(g.Values)
	if g.Values == nil {
		g.Values = map[string]int{}
	}
	if values < 0 && g.Values[category] == 0 && len(g.Values) > 0 {
		category = slices.Min(slices.Collect(maps.Keys(g.Values)))
	}
	if g.Values[category] += values; g.Values[category] <= 0 {
		delete(g.Values, category)
	}
	return g
}

// sealed counts values of a category, and parts of documents, that come under a key or, if negative, go.
func (row *subjectRow) sealed(key kms.ID, category string, values, parts int) {
	for _, keys := range []map[string]kms.ID{row.Keys, row.Fading} {
		for slice, k := range keys {
			if k != key {
				continue
			}
			if row.Sealed == nil {
				row.Sealed = map[string]goneRow{}
			}
			row.Sealed[slice] = row.Sealed[slice].plus(category, values, parts)
			return
		}
	}
}

// sealedUnder is what keys seal.
func (row *subjectRow) sealedUnder(keys map[string]kms.ID) map[string]goneRow {
	gone := map[string]goneRow{}
	for slice := range keys {
		if g := row.Sealed[slice]; len(g.Values) > 0 || g.Parts > 0 {
			gone[slice] = g
		}
	}
	return gone
}

// issuedRow is how many tokens a system has of a person.
type issuedRow struct {
	Fields    int `cbor:"1,keyasint,omitempty"`
	Documents int `cbor:"2,keyasint,omitempty"`
}

// counts is what the system may know of what is held.
func (i issuedRow) counts() api.Counts {
	return api.Counts{Tokens: i.Fields + i.Documents, Fields: i.Fields, Documents: i.Documents}
}

// issued counts tokens that a system is given or, if negative, loses.
func (row *subjectRow) issued(system string, fields, documents int) {
	row.Counts.Tokens += fields + documents
	if row.Issued == nil {
		row.Issued = map[string]issuedRow{}
	}
	now := row.Issued[system]
	now.Fields, now.Documents = now.Fields+fields, now.Documents+documents
	if row.Issued[system] = now; now == (issuedRow{}) {
		delete(row.Issued, system)
	}
}
