package postgres

import (
	"bytes"
	"errors"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/overlay"
)

// reader is the store.Reader of one transaction, over what it has written.
type reader struct {
	tx   transaction
	over *overlay.Overlay // nil for a View
}

// Get implements store.Reader. What is not among the own writes takes one round trip, however many keys.
func (r *reader) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	var ask [][]byte
	waiting := map[string][]int{} // where the answer for a key belongs
	for i, key := range keys {
		if r.over != nil {
			if at, ok := r.over.Find(key); ok {
				values[i] = r.over.Entries[at].Value // nil when deleted
				continue
			}
		}
		if _, ok := waiting[string(key)]; !ok {
			ask = append(ask, present(key))
		}
		waiting[string(key)] = append(waiting[string(key)], i)
	}
	var pairs []store.Pair
	var err error
	if len(ask) > 0 {
		pairs, err = r.tx.get(ask)
	}
	for _, p := range pairs {
		for _, i := range waiting[string(p.Key)] {
			values[i] = p.Value
		}
	}
	if err != nil {
		return nil, err
	}
	return values, nil
}

// present is b, but never nil, which the server would take for null.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Scan implements store.Reader. It takes one round trip.
func (r *reader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	if limit <= 0 {
		return nil, errors.New("postgres: scanning: the limit is not positive")
	}
	from := present(prefix)
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		from = append(bytes.Clone(after), 0) // the least key after it
	}
	if !bytes.HasPrefix(from, prefix) {
		return nil, nil
	}
	var writes []overlay.Entry
	if r.over != nil {
		writes = r.over.Within(prefix, from)
	}
	rows := limit
	for _, e := range writes {
		if e.Deleted { // perhaps of a row that the server returns
			rows++
		}
	}
	pairs, err := r.tx.scan(from, successor(prefix), rows)
	if err != nil {
		return nil, err
	}
	return overlay.Merge(writes, pairs, limit), nil
}

// successor is the least key greater than all that begin with prefix; nil when there is none.
func successor(prefix []byte) []byte {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}

// writer is the store.Writer of one attempt.
type writer struct {
	reader
	own overlay.Overlay
}

// Set implements store.Writer.
func (w *writer) Set(key, value []byte) error { return w.own.Set(present(key), value) }

// Delete implements store.Writer.
func (w *writer) Delete(key []byte) error { return w.own.Delete(present(key)) }
