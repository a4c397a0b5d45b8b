// Package store is the seam to the database: one small ordered, transactional key-value store. The domain encodes itself
// once, above it; an engine is one small package that passes storetest.
//
// Keys and values are opaque bytes. Personal data is never in a key, and in a value only sealed.
package store

import (
	"context"
	"errors"
)

// Limits that every engine keeps. They leave room for a batch of 50 items in one Update.
const (
	MaxKey    = 512       // bytes in a key
	MaxValue  = 256 << 10 // bytes in a value
	MaxUpdate = 4 << 20   // bytes of keys and values written in one Update
	MaxWrites = 10_000    // Set and Delete calls in one Update
)

// The ways a store fails.
var (
	// ErrTooLarge: a key, a value or an Update is over its limit. Nothing was written.
	ErrTooLarge = errors.New("store: over the size limit")
	// ErrNoSpace: too little disk is left for an Update of this urgency. Nothing was written.
	ErrNoSpace = errors.New("store: too little free space")
	// ErrClosed: the store was closed, or stopped after a failed commit. Whether an Update that gets it was written is
	// unknown.
	ErrClosed = errors.New("store: closed")
	// ErrUnavailable: the database did not answer, or others were in the way for too long. Whether an Update that gets it was
	// written is unknown.
	ErrUnavailable = errors.New("store: unavailable")
)

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// Reader reads one consistent state. What it returns may be kept until f returns and must not be changed; copy what
// outlives f. It is used by one goroutine.
type Reader interface {
	// Get returns the value of each key in order; nil for an absent key. A present empty value is empty but not nil.
	Get(keys ...[]byte) ([][]byte, error)
	// Scan returns up to limit pairs whose keys begin with prefix and are greater than after (nil: from the first), in
	// ascending order of bytes. limit must be positive.
	Scan(prefix, after []byte, limit int) ([]Pair, error)
}

// Writer reads its own writes.
type Writer interface {
	Reader
	// Set and Delete take ownership of their arguments.
	Set(key, value []byte) error
	Delete(key []byte) error
}

// Store is an ordered, transactional key-value store. It is safe for concurrent use.
type Store interface {
	// View runs f on one consistent snapshot, which holds every Update acknowledged before View was called.
	View(ctx context.Context, f func(Reader) error) error

	// Update runs f and commits what it wrote. Updates are serializable, in an order consistent with real time. When
	// Update returns nil the writes are durable on every copy that may take over. When f returns an error nothing is
	// written and Update returns that error; after any other error the outcome is unknown unless it is ErrTooLarge or
	// ErrNoSpace. f may run more than once, must only depend on what it reads, is short, and does no I/O of its own; it
	// may run in another goroutine and must not call the store. When f panics nothing is written, and the panic goes on in
	// the caller of Update.
	Update(ctx context.Context, f func(Writer) error) error

	// Close waits for what is running and releases the store. Later Views and Updates get ErrClosed; a second Close does
	// nothing.
	Close() error
}

// Urgency says which Updates may still use a disk that is nearly full. The zero value gives way first.
type Urgency int

// Urgencies, from the first to give way to the last.
const (
	NewData Urgency = iota // registering people, uploading documents
	Reading                // a disclosure, which writes an audit entry
	Vital                  // blocks and erasures, from the reserve
)

type urgencyKey struct{}

// With returns a context whose Updates have this urgency.
func With(ctx context.Context, u Urgency) context.Context {
	return context.WithValue(ctx, urgencyKey{}, u)
}

// UrgencyOf returns the urgency of ctx.
func UrgencyOf(ctx context.Context) Urgency {
	u, _ := ctx.Value(urgencyKey{}).(Urgency)
	return u
}
