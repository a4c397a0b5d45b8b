package translog

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// frontier is what is needed to go on with the tree: its edge, and the ids of the entries of the last bundle.
type frontier struct {
	row   []byte // the state row that it belongs to
	state stateRow
	edge  checkpoint.Edge
	ids   []byte

	gained []store.Pair // rows that will not change any more, since it was loaded
	from   int64        // the size at that time
}

const idsWidth = 16 * checkpoint.Width

// load reads the frontier of the tree in the store.
func (l *Log) load(r store.Reader, state *stateRow, row []byte) (*frontier, error) {
	f := &frontier{row: row, state: *state, from: state.Size}
	f.edge.Size = state.Size
	for level := 0; state.Size>>(checkpoint.Height*level) > 0; level++ {
		t := f.edge.Partial(level)
		tile, err := l.exactly(r, l.tileKey(level, t.Index), t.Width*tlog.HashSize)
		if err != nil {
			return nil, fmt.Errorf("%w, level %d", err, level)
		}
		f.edge.Tiles = append(f.edge.Tiles, tile)
	}
	var err error
	f.ids, err = l.exactly(r, l.idsKey(state.Size/checkpoint.Width), int(state.Size%checkpoint.Width)*16)
	if err != nil {
		return nil, err
	}
	root, err := f.edge.Root()
	if err != nil {
		return nil, err
	}
	if root != state.Root {
		return nil, damaged("its edge is not of its root")
	}
	return f, nil
}

// exactly reads a row at the edge, which has want bytes; nil when that is none.
func (l *Log) exactly(r store.Reader, key []byte, want int) ([]byte, error) {
	if want == 0 {
		return nil, nil
	}
	values, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	if len(values[0]) != want {
		return nil, damaged("what is at its edge")
	}
	return bytes.Clone(values[0]), nil
}

// add appends an entry.
func (l *Log) add(f *frontier, leaf Leaf) error {
	if leaf.Placed {
		f.gained = append(f.gained, store.Pair{Key: l.placeKey(leaf.ID), Value: number(f.edge.Size)})
	}
	f.ids = append(f.ids, leaf.ID[:]...)
	if len(f.ids) == idsWidth {
		f.gained = append(f.gained, store.Pair{Key: l.idsKey(f.edge.Size / checkpoint.Width), Value: f.ids})
		f.ids = nil
	}
	return f.edge.Add(leaf.Hash, func(t checkpoint.Tile, hashes []byte) error {
		f.gained = append(f.gained, store.Pair{Key: l.tileKey(t.Level, t.Index), Value: hashes})
		return nil
	})
}

// rows is what the tree gained since the frontier was loaded: full tiles and bundles, and the edge that grows.
func (l *Log) rows(f *frontier) []store.Pair {
	rows := f.gained
	for level, hashes := range f.edge.Tiles {
		grew := f.edge.Size>>(checkpoint.Height*level) != f.from>>(checkpoint.Height*level)
		if grew && len(hashes) > 0 {
			rows = append(rows, store.Pair{Key: l.tileKey(level, f.edge.Partial(level).Index), Value: bytes.Clone(hashes)})
		}
	}
	if len(f.ids) > 0 {
		rows = append(rows, store.Pair{Key: l.idsKey(f.edge.Size / checkpoint.Width), Value: bytes.Clone(f.ids)})
	}
	return rows
}
