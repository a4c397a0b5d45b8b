package badgerdb

import (
	"bytes"
	"slices"
)

// entry is one write. It owns its slices.
type entry struct {
	key, value []byte
	deleted    bool
}

// overlay is a set of writes that are not committed, sorted by key, at most one a key.
type overlay struct {
	entries []entry
	writes  int // calls, which may be more than entries
	bytes   int // of keys and values in those calls
}

func (o *overlay) reset() {
	clear(o.entries)
	o.entries, o.writes, o.bytes = o.entries[:0], 0, 0
}

// find returns where key is or would be.
func (o *overlay) find(key []byte) (int, bool) {
	// Most calls come in the order of their keys, or on an empty overlay.
	if n := len(o.entries); n == 0 || bytes.Compare(o.entries[n-1].key, key) < 0 {
		return n, false
	}
	return slices.BinarySearchFunc(o.entries, key, func(e entry, key []byte) int { return bytes.Compare(e.key, key) })
}

func (o *overlay) put(e entry) {
	i, ok := o.find(e.key)
	if ok {
		o.entries[i] = e
		return
	}
	o.entries = slices.Insert(o.entries, i, e)
}

// absorb puts all of above into o.
func (o *overlay) absorb(above *overlay) {
	for _, e := range above.entries {
		o.put(e)
	}
	o.writes += above.writes
	o.bytes += above.bytes
}
