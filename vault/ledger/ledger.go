// Package ledger keeps the erasure ledger: the list of every key that was destroyed while it was in use, and of the person
// whom that erased; and of every key of the search index that was made, so that one which an older store knows nothing of goes, too.
//
// # What it is for
//
// A backup of the store and a snapshot of the key provider are taken at different times and restored by different people. An
// old store knows nothing of an erasure, an old snapshot brings the keys back, and both together bring back the person. So the
// erasure is written here first, outside of both, and synced before a key is destroyed. Whoever starts on a store or on keys
// compares the position that they have carried out with the [Head], and carries out again what they have missed.
//
// # Format
//
// A ledger is a list of lines, each one JSON object in its one canonical form and at most [MaxLine] bytes. Line 0 is the
// header, which names the tenant and the ledger by a random id; line n is entry n:
//
//	{"v":1,"ledger":ID,"tenant":TENANT,"at":TIME,"key":PUBLIC,"sig":SIGNATURE}
//	{"v":1,"n":NUMBER,"prev":HASH,"at":TIME,"kind":KIND,"ref":REF,"subject":SUBJECT,"keys":[ID,…],"slices":[NAME,…],
//	 "log":{"origin":ORIGIN,"root":HASH,"size":SIZE},"key":PUBLIC,"sig":SIGNATURE}
//
// (an entry has no line break; members that are empty are left out). prev is the SHA-256 of the line before, without its line
// feed, so a line's hash stands for it and for everything before it. The signature is Ed25519 under the public key named, over
// a prefix that separates it from all else which that key signs and the line up to ,"sig": . docs/formats.md has it byte by byte.
//
// # Invariants
//
//   - A line that was acknowledged is never changed, moved or removed. What is found otherwise is an error that stops
//     whoever relies on the ledger: [ErrMissing], [ErrTruncated], [ErrDamaged] or [ErrForged].
//   - A ref stands in the ledger once. Appending it again appends nothing, or fails with [ErrConflict] when what is to be
//     appended is another destruction than what stands there.
//   - A line holds ids, names of slices and hashes, and no personal data.
//   - A parser refuses what the writer would not have written, to the byte.
//
// A [Book] is a ledger over a [Medium]: a file (vault/ledger/file), or a bucket whose objects are locked (vault/ledger/s3).
package ledger

import (
	"context"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Kind says what a destruction was of.
type Kind string

// The kinds.
const (
	Subject Kind = "subject" // a whole person: all their keys
	Slices  Kind = "slices"  // parts of a person: the keys of these slices
	Key     Kind = "key"     // another key: an index epoch's, a proof of consent's, a day's idempotency key
	Epoch   Kind = "epoch"   // nothing: an index epoch's key was made. A store that does not name it is older, and the key is to go
)

// Position is where the transparency log stood when the entry was written: its last checkpoint. The zero Position says that
// there was none.
type Position struct {
	Origin string // the log's name, as its checkpoints have it
	Size   int64  // entries
	Root   [32]byte
}

// Entry is one destruction, or what one may have to be made of later. Text in it is printable ASCII without spaces, quotes and backslashes.
type Entry struct {
	Number  uint64    // from 1, given by Append
	At      time.Time // when it was appended, to the millisecond, given by Append
	Kind    Kind      //
	Ref     string    // what it is known by, such as the id of the erasure; at most 255 bytes, never twice in a ledger
	Subject string    // the person's id; empty for most keys of [Key], and for [Epoch]
	Keys    []kms.ID  // to be destroyed, but for [Epoch], which has the one that was made; kept in ascending order
	Slices  []string  // names of the slices that the keys are of; kept in ascending order
	Log     Position  // where the transparency log stood
}

// Erases reports whether somebody is erased by it, or parts of them.
func (e Entry) Erases() bool { return e.Kind == Subject || e.Kind == Slices }

// Destroys is the keys that are gone when it is carried out.
func (e Entry) Destroys() []kms.ID {
	if e.Kind == Epoch {
		return nil
	}
	return e.Keys
}

// Head is how far a ledger goes.
type Head struct {
	Entries uint64   // number of the last entry; 0 when there is none
	Hash    [32]byte // of the last line: of the header when there is no entry
}

// Ledger is an append-only list of destructions. It is safe for concurrent use. All methods fail within the context's
// deadline. Errors other than the context's wrap one of this package's, or speak of a medium that could not be reached.
type Ledger interface {
	// Head looks at the medium again and returns how far it goes. What was cut off, replaced or written by a stranger since
	// is found, at a cost that does not grow with the ledger; only when the medium shows signs of having been touched is all of it
	// read again.
	Head(ctx context.Context) (Head, error)

	// Append adds the entries in order and returns the head after them. They are durable when it returns. An entry whose
	// Ref is there is left out, so that a step may be repeated; with another kind, person, keys or slices under it nothing is
	// appended and the error is ErrConflict. After any other error each entry, in order, may or may not be there, and
	// the call is repeated.
	Append(ctx context.Context, entries ...Entry) (Head, error)

	// Find returns the number of the entry with this ref.
	Find(ctx context.Context, ref string) (number uint64, found bool, err error)

	// At returns the hash of the line of this number, 0 being the header: the Hash of the Head when it was the last. Past the
	// end it fails with ErrTruncated.
	At(ctx context.Context, number uint64) (hash [32]byte, err error)

	// Scan calls f with every entry after this number, in order, up to the head as it was at the call. Each is verified before
	// f gets it. An error of f ends it and is returned.
	Scan(ctx context.Context, after uint64, f func(Entry) error) error

	// Close lets go of the medium.
	Close() error
}

// Use says what a ledger is opened for.
type Use int

// The uses.
const (
	Write  Use = iota // to append to the one that is there
	Create            // the same, or to a new one when there is none
	Look              // to read it, whoever else may have it open
)
