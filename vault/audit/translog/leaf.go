package translog

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit"
)

// Leaf is an entry as the tree takes it.
type Leaf struct {
	ID     audit.ID
	Hash   tlog.Hash // tlog.RecordHash of the entry's bytes
	Placed bool      // a proof will be asked for by its id
}

// LeafSize is the length of a leaf in a staging row, in bytes.
const LeafSize = 16 + tlog.HashSize + 1

// Append appends the leaf to the value of a staging row.
func (f Leaf) Append(row []byte) []byte {
	row = append(append(row, f.ID[:]...), f.Hash[:]...)
	if f.Placed {
		return append(row, 1)
	}
	return append(row, 0)
}

// StagedKey is the key of the staging row of an Update whose first entry has this id. Its value is the leaves of all
// entries of the Update, in order.
func (l *Log) StagedKey(first audit.ID) []byte { return stagedKey(l.Prefix, first) }

func parseLeaves(row []byte) ([]Leaf, error) {
	if len(row) == 0 || len(row)%LeafSize != 0 {
		return nil, damaged("a staging row is not whole")
	}
	leaves := make([]Leaf, 0, len(row)/LeafSize)
	for ; len(row) > 0; row = row[LeafSize:] {
		leaves = append(leaves, Leaf{
			ID: audit.ID(row[:16]), Hash: tlog.Hash(row[16 : 16+tlog.HashSize]), Placed: row[LeafSize-1] == 1,
		})
	}
	return leaves, nil
}
