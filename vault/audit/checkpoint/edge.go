package checkpoint

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Edge is the right edge of a tree: of every level the hashes of the tile that is not yet full. It is all that is needed to go
// on with a tree and to know its root, whatever its size. The zero Edge is of the empty tree.
type Edge struct {
	Size  int64
	Tiles [][]byte // by level: the hashes of the partial tile; nil for none
}

// Add appends the hash of an entry. It calls full for every tile that this fills, from the lowest level up; the bytes are
// full's to keep.
func (e *Edge) Add(leaf tlog.Hash, full func(Tile, []byte) error) error {
	e.Size++
	for level := 0; ; level++ {
		if level == len(e.Tiles) {
			e.Tiles = append(e.Tiles, nil)
		}
		e.Tiles[level] = append(e.Tiles[level], leaf[:]...)
		if len(e.Tiles[level]) < Width*tlog.HashSize {
			return nil
		}
		hashes := e.Tiles[level]
		e.Tiles[level] = nil
		if err := full(Tile{Level: level, Index: e.Size>>(Height*(level+1)) - 1, Width: Width}, hashes); err != nil {
			return err
		}
		leaf = hashOf(hashes)
	}
}

// hashOf is the hash of the subtree over hashes, whose number is a power of two.
func hashOf(hashes []byte) tlog.Hash {
	if len(hashes) == tlog.HashSize {
		return tlog.Hash(hashes)
	}
	half := len(hashes) / 2
	return tlog.NodeHash(hashOf(hashes[:half]), hashOf(hashes[half:]))
}

// Partial names the tile at the edge of a level, which has hashes when Width is not 0.
func (e *Edge) Partial(level int) Tile {
	n := e.Size >> (Height * level)
	return Tile{Level: level, Index: n / Width, Width: int(n % Width)}
}

// Root is the tree's hash.
func (e *Edge) Root() (tlog.Hash, error) {
	return tlog.TreeHash(e.Size, tlog.HashReaderFunc(e.read))
}

func (e *Edge) read(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(Height, index)
		if t.L >= len(e.Tiles) || t.N != e.Partial(t.L).Index {
			return nil, fmt.Errorf("checkpoint: hash %d is not at the edge", index)
		}
		t.W = len(e.Tiles[t.L]) / tlog.HashSize
		h, err := tlog.HashFromTile(t, e.Tiles[t.L], index)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: the edge: %w", err)
		}
		hashes[i] = h
	}
	return hashes, nil
}
