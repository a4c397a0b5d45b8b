// Package memory is a store in memory: a sorted slice under one lock. It is the plainest thing that keeps the contract,
// for tests and as the model that engines are compared with. Nothing is durable.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sandyq/sandyq/vault/store"
)

// Store is a store in memory. Updates run one at a time. A state is never changed once it is published: an Update
// copies the slice of pairs and publishes the copy, so a View keeps the state it began with and holds up nobody.
type Store struct {
	writing sync.Mutex // held by the running Update

	mu      sync.Mutex // guards what follows
	state   []store.Pair
	closed  bool
	running sync.WaitGroup // Views and Updates
}

// New returns an empty store.
func New() *Store { return &Store{} }

// begin returns the current state, which stays valid until running.Done.
func (s *Store) begin() ([]store.Pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, store.ErrClosed
	}
	s.running.Add(1)
	return s.state, nil
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, f func(store.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	state, err := s.begin()
	if err != nil {
		return err
	}
	defer s.running.Done()
	return f(&reader{pairs: state})
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, f func(store.Writer) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	state, err := s.begin()
	if err != nil {
		return err
	}
	defer s.running.Done()
	w := writer{reader: reader{pairs: slices.Clone(state)}}
	if err := f(&w); err != nil {
		return err
	}
	if w.err != nil {
		return w.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = w.pairs
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

func compareKey(p store.Pair, key []byte) int { return bytes.Compare(p.Key, key) }

type reader struct{ pairs []store.Pair }

// Get implements store.Reader.
func (r *reader) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if at, ok := slices.BinarySearchFunc(r.pairs, key, compareKey); ok {
			values[i] = bytes.Clone(r.pairs[at].Value)
		}
	}
	return values, nil
}

// Scan implements store.Reader.
func (r *reader) Scan(prefix, after []byte, limit int) ([]store.Pair, error) {
	if limit <= 0 {
		return nil, errors.New("memory: scanning: the limit is not positive")
	}
	at, _ := slices.BinarySearchFunc(r.pairs, prefix, compareKey)
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		var found bool
		if at, found = slices.BinarySearchFunc(r.pairs, after, compareKey); found {
			at++
		}
	}
	var pairs []store.Pair
	for _, p := range r.pairs[at:] {
		if len(pairs) == limit || !bytes.HasPrefix(p.Key, prefix) {
			break
		}
		pairs = append(pairs, store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
	}
	return pairs, nil
}

type writer struct {
	reader
	writes, bytes int
	err           error // the first refusal, which f cannot undo by ignoring it
}

// Set implements store.Writer.
func (w *writer) Set(key, value []byte) error {
	if err := w.admit(key, value); err != nil {
		return err
	}
	// The clones make it harmless that a caller keeps and changes what it gave away. A value is never nil.
	p := store.Pair{Key: bytes.Clone(key), Value: append([]byte{}, value...)}
	at, ok := slices.BinarySearchFunc(w.pairs, key, compareKey)
	if ok {
		w.pairs[at] = p
	} else {
		w.pairs = slices.Insert(w.pairs, at, p)
	}
	return nil
}

// Delete implements store.Writer.
func (w *writer) Delete(key []byte) error {
	if err := w.admit(key, nil); err != nil {
		return err
	}
	if at, ok := slices.BinarySearchFunc(w.pairs, key, compareKey); ok {
		w.pairs = slices.Delete(w.pairs, at, at+1)
	}
	return nil
}

// admit holds a write against the limits.
func (w *writer) admit(key, value []byte) error {
	if w.err != nil {
		return w.err
	}
	w.writes++
	w.bytes += len(key) + len(value)
	if len(key) > store.MaxKey || len(value) > store.MaxValue || w.bytes > store.MaxUpdate || w.writes > store.MaxWrites {
		w.err = fmt.Errorf("memory: a key of %d and a value of %d bytes, write %d of %d bytes in all: %w",
			len(key), len(value), w.writes, w.bytes, store.ErrTooLarge)
	}
	return w.err
}
