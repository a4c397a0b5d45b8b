// Package overlay is what an Update has written and not committed: the engines' common way of reading one's own writes and of
// keeping the limits of package store.
package overlay

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/vault/store"
)

// Entry is one write. It owns its slices. The value of a key that is present is never nil.
type Entry struct {
	Key, Value []byte
	Deleted    bool
}

// Overlay is a set of writes, sorted by key, at most one a key. The zero value is empty. It is for one goroutine.
type Overlay struct {
	Entries []Entry

	writes int   // calls, which may be more than entries
	bytes  int   // of keys and values in those calls
	err    error // the first refusal, which whoever writes cannot undo by ignoring it
}

// Find returns where key is or would be.
func (o *Overlay) Find(key []byte) (int, bool) {
	// Most calls come in the order of their keys, or on an empty overlay.
	if n := len(o.Entries); n == 0 || bytes.Compare(o.Entries[n-1].Key, key) < 0 {
		return n, false
	}
	return slices.BinarySearchFunc(o.Entries, key, func(e Entry, key []byte) int { return bytes.Compare(e.Key, key) })
}

// Set takes ownership of its arguments. The error is store.ErrTooLarge, and stays.
func (o *Overlay) Set(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return o.put(Entry{Key: key, Value: value})
}

// Delete takes ownership of its argument. The error is store.ErrTooLarge, and stays.
func (o *Overlay) Delete(key []byte) error { return o.put(Entry{Key: key, Deleted: true}) }

func (o *Overlay) put(e Entry) error {
	if o.err != nil {
		return o.err
	}
	size := len(e.Key) + len(e.Value)
	switch {
	case len(e.Key) > store.MaxKey:
		o.err = fmt.Errorf("a key of %d bytes: %w", len(e.Key), store.ErrTooLarge)
	case len(e.Value) > store.MaxValue:
		o.err = fmt.Errorf("a value of %d bytes: %w", len(e.Value), store.ErrTooLarge)
	case o.bytes+size > store.MaxUpdate:
		o.err = fmt.Errorf("an Update of more than %d bytes: %w", store.MaxUpdate, store.ErrTooLarge)
	case o.writes == store.MaxWrites:
		o.err = fmt.Errorf("an Update of more than %d writes: %w", store.MaxWrites, store.ErrTooLarge)
	}
	if o.err != nil {
		return o.err
	}
	o.writes++
	o.bytes += size
	i, ok := o.Find(e.Key)
	if ok {
		o.Entries[i] = e
	} else {
		o.Entries = slices.Insert(o.Entries, i, e)
	}
	return nil
}

// Err is the first refusal; nil when there was none.
func (o *Overlay) Err() error { return o.err }

// Within returns the writes to keys that begin with prefix and are not less than from.
func (o *Overlay) Within(prefix, from []byte) []Entry {
	at, _ := o.Find(from)
	end := at
	for end < len(o.Entries) && bytes.HasPrefix(o.Entries[end].Key, prefix) {
		end++
	}
	return o.Entries[at:end]
}

// Merge lays writes, in the order of their keys, over pairs in theirs, and returns the first limit pairs of the outcome.
func Merge(writes []Entry, pairs []store.Pair, limit int) []store.Pair {
	if len(writes) == 0 && len(pairs) <= limit {
		return pairs
	}
	merged := make([]store.Pair, 0, min(limit, len(writes)+len(pairs)))
	for len(merged) < limit && len(writes)+len(pairs) > 0 {
		order := -1 // of the next write against the next pair
		switch {
		case len(writes) == 0:
			order = 1
		case len(pairs) > 0:
			order = bytes.Compare(writes[0].Key, pairs[0].Key)
		}
		if order > 0 {
			merged, pairs = append(merged, pairs[0]), pairs[1:]
			continue
		}
		if order == 0 {
			pairs = pairs[1:]
		}
		if !writes[0].Deleted {
			merged = append(merged, store.Pair{Key: writes[0].Key, Value: writes[0].Value})
		}
		writes = writes[1:]
	}
	return merged
}
