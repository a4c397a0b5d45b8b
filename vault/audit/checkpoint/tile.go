package checkpoint

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Height is the height of the tiles of c2sp.org/tlog-tiles; Width is how many hashes, or entries, a full one has.
const (
	Height = 8
	Width  = 1 << Height
)

// Entries is the level of bundles, which hold entries and not hashes.
const Entries = -1

// Tile names a piece of a log: consecutive hashes of a level of the tree, or consecutive entries (c2sp.org/tlog-tiles).
type Tile struct {
	Level int   // 0 to 7; 0 is the leaves' hashes, and Entries the entries themselves
	Index int64 // of the tile in its level, from 0
	Width int   // 1 to Width; fewer than Width is a partial tile
}

// Start is the index of the tile's first hash in its level.
func (t Tile) Start() int64 { return t.Index * Width }

// End is how many entries a tree has at least that has the tile.
func (t Tile) End() int64 { return (t.Start() + int64(t.Width)) << (Height * max(t.Level, 0)) }

// Path is where the tile is to be found below the log's prefix: tile/<L>/<N>[.p/<W>], with N in groups of three digits.
func (t Tile) Path() string {
	n := fmt.Sprintf("%03d", t.Index%1000)
	for i := t.Index / 1000; i > 0; i /= 1000 {
		n = fmt.Sprintf("x%03d/%s", i%1000, n)
	}
	level := "entries"
	if t.Level != Entries {
		level = strconv.Itoa(t.Level)
	}
	if t.Width < Width {
		return fmt.Sprintf("tile/%s/%s.p/%d", level, n, t.Width)
	}
	return fmt.Sprintf("tile/%s/%s", level, n)
}

// maxIndex bounds a tile's index: no tree is larger.
const maxIndex = 1 << 54

// ParseTile reads a path that Path writes.
func ParseTile(path string) (Tile, error) {
	bad := malformed("a tile is tile/<level>/<index>[.p/<width>]")
	rest, ok := strings.CutPrefix(path, "tile/")
	level, rest, found := strings.Cut(rest, "/")
	if !ok || !found || len(path) > 100 {
		return Tile{}, bad
	}
	t := Tile{Level: Entries, Width: Width}
	if level != "entries" {
		l, err := parseNumber(level)
		if err != nil || l > 7 {
			return Tile{}, bad
		}
		t.Level = int(l)
	}
	digits, width, partial := strings.Cut(rest, ".p/")
	if partial {
		w, err := parseNumber(width)
		if err != nil || w < 1 || w >= Width {
			return Tile{}, bad
		}
		t.Width = int(w)
	}
	for _, group := range strings.Split(digits, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(group, "x"), 10, 10)
		if err != nil || t.Index > maxIndex/1000 {
			return Tile{}, bad
		}
		t.Index = t.Index*1000 + int64(n)
	}
	if t.Index >= maxIndex>>(Height*max(t.Level, 0)) || t.Path() != path {
		return Tile{}, bad
	}
	return t, nil
}

// Tiles goes through the tiles that a log of size entries consists of, from the lowest level up: of every level, full ones and the
// partial one at its end, and with each of level 0 the bundle of its entries. Those that a log of size since had already are left
// out. It holds nothing in memory, for whoever signs a checkpoint may name any size.
func Tiles(since, size int64) iter.Seq[Tile] {
	return func(yield func(Tile) bool) {
		for level := 0; size>>(Height*level) > 0; level++ {
			had, has := since>>(Height*level), size>>(Height*level)
			for index := had / Width; had < has && index*Width < has; index++ {
				t := Tile{Level: level, Index: index, Width: int(min(Width, has-index*Width))}
				if !yield(t) || level == 0 && !yield(Tile{Level: Entries, Index: index, Width: t.Width}) {
					return
				}
			}
		}
	}
}

// MaxEntry is the longest entry that a bundle holds, in bytes.
const MaxEntry = 1<<16 - 1

// AppendEntry appends an entry to a bundle: its length in two bytes, big-endian, and the entry.
func AppendEntry(bundle, entry []byte) ([]byte, error) {
	if len(entry) > MaxEntry {
		return nil, malformed("an entry is too long for a bundle")
	}
	return append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...), nil
}

// ParseBundle takes a bundle of n entries apart. The entries are parts of it.
func ParseBundle(bundle []byte, n int) ([][]byte, error) {
	entries := make([][]byte, 0, n)
	for range n {
		if len(bundle) < 2 {
			return nil, malformed("a bundle ends early")
		}
		size := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+size {
			return nil, malformed("a bundle ends early")
		}
		entries, bundle = append(entries, bundle[2:2+size]), bundle[2+size:]
	}
	if len(bundle) > 0 {
		return nil, malformed("a bundle goes on after its entries")
	}
	return entries, nil
}
