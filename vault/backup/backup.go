// Package backup is the format of Sandyq's backups: a repository of encrypted objects, and the stream in which a server
// sends what a repository lacks.
//
// # Model
//
// A backup is one snapshot of a store: all its rows in the order of their keys, and the blobs that these rows name. The
// rows are cut into chunks at keys whose digest says so (see Cutter), so that what did not change is cut as the last time.
// A chunk is named by the SHA-256 of its plaintext and a blob by its own random id, the SHA-256 of its bytes and its size; a
// repository keeps each once, whatever snapshots name it. A snapshot lists everything that it needs: none rests on another,
// and any may be removed.
//
// The server reads and encrypts, to age recipients (c2sp.org/age); whoever keeps the repository sees no plaintext and needs
// no key. Only the holder of an identity restores.
//
// # Stream
//
// Frames of one byte of kind, four bytes of length (big-endian) and at most 1 MiB. The client asks with one request frame
// and references of all that it has. The server answers with the vault's id; then for every chunk, and after these for every
// blob, the object's data unless the client has it, followed by its reference; then the sealed manifest, and the header,
// which comes only when the log has the snapshot's id. Before that nothing is a snapshot. See frame.go.
//
// # Repository
//
//	config                                 JSON: version, vault, digest of the recipients
//	chunks/ab/<sha-256>                    age file of a chunk: rows, each as length and key, length and value (uvarint)
//	blobs/ab/<id>.<sha-256>.<size>         age file of a blob, which is an age file under its person's key itself
//	listings/<id>                          references: 40 bytes for each chunk, then 56 for each blob
//	snapshots/<id>                         a line with the format's name, a line with the header (JSON), the manifest, sealed
//
// The manifest (JSON) says what the header says, and what is nobody's business beside the holder of an identity. The
// snapshot's id is the SHA-256 of the manifest, and the manifest has the SHA-256 of the listing.
//
// # Invariants
//
//   - Whoever opens one snapshot of a repository opens all: everything in it is encrypted to the same recipients.
//   - An object's name is true: it was written aside and synced before it was given the name.
//   - A snapshot's file is the last thing of it that is written, so whatever it lists is there.
//   - Nothing that was changed, cut, exchanged or taken from another snapshot is restored: what is read is held to the
//     digest that the manifest vouches for, and rows ascend from the first chunk to the last.
//   - Plain are names, sizes, digests and times: no personal data, no row.
//
// What age does not give is proof of who encrypted: whoever knows a recipient and may write into a repository can put there
// a snapshot of their own making. Its id is not one that the vault's log has.
package backup

import (
	"errors"
	"fmt"

	"filippo.io/age"
)

// Version is the version of the format.
const Version = 1

var (
	// ErrDamaged: something in a repository is not what was written there, or is not there.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrIdentity: a snapshot is not encrypted to any of the identities.
	ErrIdentity = errors.New("the backup is not encrypted to any of these identities")
	// ErrForeign: a repository is of another vault.
	ErrForeign = errors.New("the repository holds the backups of another vault")
	// ErrRecipients: what a repository has is encrypted to other recipients.
	ErrRecipients = errors.New("what the repository has is encrypted to other recipients")
	// ErrNoSnapshot: a repository has no such snapshot, or none at all.
	ErrNoSnapshot = errors.New("there is no such snapshot")
	// ErrCut: a stream ended before the snapshot was whole. What came is kept, and the next one goes on from it.
	ErrCut = errors.New("the backup ended before it was whole")
	// ErrInUse: another process writes into the repository.
	ErrInUse = errors.New("another process is at work in this repository")
)

// damaged reports what is not as it was written.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Recipients are whom a backup is encrypted to, and Identities who opens it.
type (
	Recipients []age.Recipient
	Identities []age.Identity
)

// MaxRecipients bounds whom a backup is encrypted to.
const MaxRecipients = 16

// ParseRecipients reads age recipients (age1…), at least one. The error does not repeat what is none.
func ParseRecipients(texts []string) (Recipients, error) {
	if len(texts) == 0 || len(texts) > MaxRecipients {
		return nil, fmt.Errorf("1 to %d recipients", MaxRecipients)
	}
	all := make(Recipients, len(texts))
	for i, text := range texts {
		var err error
		if all[i], err = parseRecipient(text); err != nil {
			return nil, fmt.Errorf("recipient %d is no age recipient (age1…)", i+1)
		}
	}
	return all, nil
}
