package translog

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// frontier is the right edge of the tree: of every level the tile that is not yet full, and the ids of the entries of the
// last bundle. It is all that is needed to go on.
type frontier struct {
	row   []byte // the state row that it belongs to
	state stateRow
	tiles [][]byte // by level; shorter than a full one
	ids   []byte

	gained []store.Pair // rows of tiles and ids that are full since it was loaded
	from   int64        // the size at that time
}

const idsWidth = 16 * checkpoint.Width

// load reads the frontier of the tree in the store.
func (l *Log) load(r store.Reader, state *stateRow, row []byte) (*frontier, error) {
	f := &frontier{row: row, state: *state, from: state.Size}
	for level := 0; state.Size>>(checkpoint.Height*level) > 0; level++ {
		n := state.Size >> (checkpoint.Height * level)
		want := int(n%checkpoint.Width) * tlog.HashSize
		var tile []byte
		if want > 0 {
			values, err := r.Get(l.tileKey(level, n/checkpoint.Width))
			if err != nil {
				return nil, err
			}
			if len(values[0]) != want {
				return nil, damaged(fmt.Sprintf("the tile at the edge of level %d", level))
			}
			tile = bytes.Clone(values[0])
		}
		f.tiles = append(f.tiles, tile)
	}
	if want := int(state.Size%checkpoint.Width) * 16; want > 0 {
		values, err := r.Get(l.idsKey(state.Size / checkpoint.Width))
		if err != nil {
			return nil, err
		}
		if len(values[0]) != want {
			return nil, damaged("the ids of the last bundle")
		}
		f.ids = bytes.Clone(values[0])
	}
	root, err := f.root()
	if err != nil {
		return nil, err
	}
	if root != state.Root {
		return nil, damaged("its edge is not of its root")
	}
	return f, nil
}

// add appends an entry.
func (l *Log) add(f *frontier, leaf Leaf) error {
	if leaf.Placed {
		f.gained = append(f.gained, store.Pair{Key: l.placeKey(leaf.ID), Value: number(f.state.Size)})
	}
	f.ids = append(f.ids, leaf.ID[:]...)
	if len(f.ids) == idsWidth {
		f.gained = append(f.gained, store.Pair{Key: l.idsKey(f.state.Size / checkpoint.Width), Value: f.ids})
		f.ids = nil
	}
	hash := leaf.Hash
	f.state.Size++
	for level := 0; ; level++ {
		if level == len(f.tiles) {
			f.tiles = append(f.tiles, nil)
		}
		f.tiles[level] = append(f.tiles[level], hash[:]...)
		if len(f.tiles[level]) < checkpoint.Width*tlog.HashSize {
			return nil
		}
		full := f.tiles[level]
		index := f.state.Size>>(checkpoint.Height*(level+1)) - 1
		f.gained = append(f.gained, store.Pair{Key: l.tileKey(level, index), Value: full})
		f.tiles[level] = nil
		var err error
		if hash, err = hashOf(full); err != nil {
			return err
		}
	}
}

// hashOf is the hash that a full tile has in the level above.
func hashOf(full []byte) (tlog.Hash, error) {
	t := tlog.Tile{H: checkpoint.Height, W: checkpoint.Width}
	left, err := tlog.HashFromTile(t, full, tlog.StoredHashIndex(checkpoint.Height-1, 0))
	if err != nil {
		return tlog.Hash{}, err
	}
	right, err := tlog.HashFromTile(t, full, tlog.StoredHashIndex(checkpoint.Height-1, 1))
	return tlog.NodeHash(left, right), err
}

// rows is what the tree gained since the frontier was loaded: full tiles and bundles, and the edge that grows.
func (l *Log) rows(f *frontier) []store.Pair {
	rows := f.gained
	for level, tile := range f.tiles {
		n := f.state.Size >> (checkpoint.Height * level)
		if len(tile) > 0 && n != f.from>>(checkpoint.Height*level) {
			rows = append(rows, store.Pair{Key: l.tileKey(level, n/checkpoint.Width), Value: bytes.Clone(tile)})
		}
	}
	if len(f.ids) > 0 {
		rows = append(rows, store.Pair{Key: l.idsKey(f.state.Size / checkpoint.Width), Value: bytes.Clone(f.ids)})
	}
	return rows
}

// root is the tree's hash, which its edge suffices for.
func (f *frontier) root() (tlog.Hash, error) {
	return tlog.TreeHash(f.state.Size, f)
}

// ReadHashes implements tlog.HashReader for what is at the edge.
func (f *frontier) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(checkpoint.Height, index)
		if t.L >= len(f.tiles) || t.N != f.state.Size>>(checkpoint.Height*(t.L+1)) {
			return nil, damaged("a hash is not at the edge")
		}
		t.W = len(f.tiles[t.L]) / tlog.HashSize
		h, err := tlog.HashFromTile(t, f.tiles[t.L], index)
		if err != nil {
			return nil, damaged(err.Error())
		}
		hashes[i] = h
	}
	return hashes, nil
}
