package badgerdb

import (
	"bytes"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

// The byte before each key.
const (
	scrapPrefix = 0
	dataPrefix  = 1
	groupPrefix = 2
)

// lastGroup is the row that every group writes and nothing deletes. By its version the tables tell which group they end
// with, also when a compaction has dropped all else that the group wrote, which may have been deletes.
var lastGroup = []byte{groupPrefix}

var empty = []byte{}

// reader reads overlays over a snapshot.
type reader struct {
	txn    *badger.Txn
	layers []*overlay // the top first
	key    []byte     // scratch: a key with its prefix
}

func (r *reader) prefixed(key []byte) []byte {
	r.key = append(append(r.key[:0], dataPrefix), key...)
	return r.key
}

// Get implements store.Reader.
func (r *reader) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
next:
	for i, key := range keys {
		for _, layer := range r.layers {
			if at, ok := layer.find(key); ok {
				values[i] = layer.entries[at].value // nil when deleted
				continue next
			}
		}
		value, err := r.committed(key)
		if err != nil {
			return nil, fmt.Errorf("badgerdb: reading: %w", err)
		}
		values[i] = value
	}
	return values, nil
}

// committed reads a key beneath the overlays; nil when it is absent.
func (r *reader) committed(key []byte) (value []byte, err error) {
	item, err := r.txn.Get(r.prefixed(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		value = v // an item of Get is not reused, so its buffer is ours
		return nil
	})
	if value == nil {
		value = empty
	}
	return value, err
}

// Scan implements store.Reader.
func (r *reader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	if limit <= 0 {
		return nil, errors.New("badgerdb: scanning: the limit is not positive")
	}
	from := prefix
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		from = append(bytes.Clone(after), 0) // the least key after it
	}
	if !bytes.HasPrefix(from, prefix) {
		return nil, nil
	}
	m := newMerge(r, prefix, from)
	defer m.base.Close()
	var pairs []store.Pair
	for len(pairs) < limit {
		e, ok, err := m.next()
		if err != nil {
			return nil, fmt.Errorf("badgerdb: scanning: %w", err)
		}
		if !ok {
			break
		}
		if !e.deleted {
			pairs = append(pairs, store.Pair{Key: e.key, Value: e.value})
		}
	}
	return pairs, nil
}

// merge walks the overlays and the snapshot together in the order of keys.
type merge struct {
	prefix []byte
	layers [][]entry // what is left of each overlay, the top first
	base   *badger.Iterator
}

func newMerge(r *reader, prefix, from []byte) *merge {
	m := &merge{prefix: prefix, layers: make([][]entry, 0, len(r.layers))}
	for _, layer := range r.layers {
		at, _ := layer.find(from)
		m.layers = append(m.layers, layer.entries[at:])
	}
	opt := badger.IteratorOptions{Prefix: bytes.Clone(r.prefixed(prefix))}
	m.base = r.txn.NewIterator(opt)
	m.base.Seek(r.prefixed(from))
	return m
}

// next returns the entry with the least key, from the topmost layer that has it, and moves all layers beyond that key.
func (m *merge) next() (e entry, ok bool, err error) {
	key, ok := m.least()
	if !ok {
		return entry{}, false, nil
	}
	taken := false
	for i, layer := range m.layers {
		if len(layer) == 0 || !bytes.Equal(layer[0].key, key) {
			continue
		}
		if !taken {
			e, taken = layer[0], true
		}
		m.layers[i] = layer[1:]
	}
	if !m.base.Valid() || !bytes.Equal(m.base.Item().Key()[1:], key) {
		return e, true, nil
	}
	if !taken {
		if e, err = committedEntry(m.base.Item()); err != nil {
			return entry{}, false, err
		}
	}
	m.base.Next()
	return e, true, nil
}

// least returns the least key that is left; it is valid until base moves.
func (m *merge) least() (key []byte, ok bool) {
	if m.base.Valid() {
		key, ok = m.base.Item().Key()[1:], true
	}
	for _, layer := range m.layers {
		if len(layer) > 0 && bytes.HasPrefix(layer[0].key, m.prefix) && (!ok || bytes.Compare(layer[0].key, key) < 0) {
			key, ok = layer[0].key, true
		}
	}
	return key, ok
}

// committedEntry copies an item, which the iterator will reuse.
func committedEntry(item *badger.Item) (entry, error) {
	value, err := item.ValueCopy(nil)
	if value == nil {
		value = empty
	}
	return entry{key: bytes.Clone(item.Key()[1:]), value: value}, err
}
