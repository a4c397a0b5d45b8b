// Package kms is the seam to whoever keeps Sandyq's keys: a directory of files (kms/local) or HashiCorp Vault
// (kms/hashicorp).
//
// A subject key is [KeySize] random bytes under a random id that is never used twice. It lives with the provider and
// nowhere else; destroying it is what erases a person. Beside the subject keys a provider keeps for each tenant an index
// key that only answers [MACer] and signing keys that only answer [Signer], none of which can be exported; and, for the
// store that it belongs to, a sentinel, a generation and a mark ([Anchor]).
//
// # Absence proves nothing by itself
//
// An empty mount, a wrong path or a rolled-back server all answer "not found". A key counts as destroyed only when the
// sentinel beside it, pinned at set-up, answers with its pinned value and the key does not. So [KMS.Destroy] takes a
// [Claim] and refuses with [ErrClaim] when the sentinel is another, is missing, or the store holds another generation.
//
// # A copy is not the vault
//
// The store and the provider hold the same [Generation]. Whoever makes a store the live one advances both. A copy or a
// restored store then holds an older generation (or, started by itself, leaves the older behind) and cannot destroy.
package kms

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/crypto/secret"
)

// KeySize is the length of every subject key and epoch key in bytes.
const KeySize = 32

// MACSize is the length of every MAC in bytes (HMAC-SHA-256).
const MACSize = 32

// Settle is how long after a failed [KMS.Create] its keys may still appear: longer than HashiCorp Vault works on one
// request (90 s unless configured otherwise).
const Settle = 2 * time.Minute

// ID names a key: 128 random bits, never used twice and tied to nobody.
type ID [16]byte

// NewID draws an id from the operating system's randomness.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// ParseID reads the form that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != hex.EncodedLen(len(id)) {
		return ID{}, errors.New("kms: an id is 32 hexadecimal digits")
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return ID{}, errors.New("kms: an id is 32 lower-case hexadecimal digits")
	}
	return id, nil
}

// String is the id as 32 lower-case hexadecimal digits; it is no secret.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id is the zero id, which names no key.
func (id ID) IsZero() bool { return id == ID{} }

// Key is a key and its id.
type Key struct {
	ID     ID
	Secret secret.Bytes // KeySize bytes, which the receiver owns and wipes; empty when the provider has no such key
}

// Missing reports that the provider answered and has no key under this id. It is not proof of destruction.
func (k Key) Missing() bool { return k.Secret.Len() == 0 }

// The ways a provider fails. All wrap one of these.
var (
	// ErrExists: an id was created before. Nothing was overwritten.
	ErrExists = errors.New("kms: a key exists under this id")
	// ErrUnavailable: the provider is away, sealed, over quota, too slow, closed, or refuses its caller. What was asked may
	// or may not have happened.
	ErrUnavailable = errors.New("kms: provider unavailable")
	// ErrClaim: the sentinel or the generation is not the claimed one, so nothing was destroyed and no absence counts.
	ErrClaim = errors.New("kms: sentinel or generation disagree with the claim")
	// ErrCorrupt: what the provider stored under an id does not open.
	ErrCorrupt = errors.New("kms: stored key does not open")
	// ErrWithheld: the provider is set by its administrators not to open what it stored, or not to answer with the version of a key
	// that is in use. All is as it was once the setting is, unless that version is gone: trimmed, of which HashiCorp Vault says the same.
	ErrWithheld = errors.New("kms: the provider is set not to use a key that is in use")
	// ErrVersion: the signing key has no such version.
	ErrVersion = errors.New("kms: no such version of the signing key")
)

// KMS keeps subject keys. Implementations are safe for concurrent use and answer or fail within the context's deadline.
type KMS interface {
	// Create makes a key under each id. It is durable before it returns. An id is used once: after an error each key may or
	// may not exist, and may yet come to exist until [Settle] has passed; the ids are not tried again, and the caller
	// destroys them once that time is over. The keys come in the order of ids.
	//
	// Who does try an id again, as a move of keys has to, takes for the key what Open gives out, never what Create did. And
	// because a provider may look whether there is one before it writes, it gives nothing else up before it has seen,
	// Settle after the last try, that what it sealed opens.
	Create(ctx context.Context, ids ...ID) ([]Key, error)

	// Open returns the key of each id in order; an absent one is Missing. The error speaks of the whole call.
	Open(ctx context.Context, ids ...ID) ([]Key, error)

	// Destroy removes the keys. It returns nil only when, under a claim that was checked before and after, every key has
	// been seen to be absent. It may be repeated, and is: after an error, and for ids that may never have existed. It
	// speaks of the moment: a Create of the same id that is still under way may finish after it (see [Settle]).
	Destroy(ctx context.Context, claim Claim, ids ...ID) error
}

// MACer computes HMAC-SHA-256 of each input under the tenant's index key, which never leaves the provider.
type MACer interface {
	// MAC returns MACSize bytes for each input, in order.
	MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error)
}

// Sentinel is the random value that marks one set-up of a provider.
type Sentinel [32]byte

// Generation counts how often a store was made the live one for these keys. Instance is drawn anew for each, 64 bits of it at least at random.
type Generation struct {
	Number   uint64
	Instance ID
}

// String is number and instance; neither is a secret.
func (g Generation) String() string { return fmt.Sprintf("%d/%s", g.Number, g.Instance) }

// Claim is a store's title to the keys: the sentinel that it pinned at set-up and the generation that it holds.
type Claim struct {
	Sentinel   Sentinel
	Generation Generation
}

// Check compares the claim with what the provider holds. A store that was never made the live one (generation 0) has no
// title, so that two fresh stores do not both hold it.
func (c Claim) Check(s Sentinel, g Generation) error {
	if subtle.ConstantTimeCompare(c.Sentinel[:], s[:]) != 1 || s == (Sentinel{}) {
		return fmt.Errorf("%w: another sentinel", ErrClaim)
	}
	if c.Generation.Number == 0 || c.Generation != g {
		return fmt.Errorf("%w: the store holds generation %s, the keys %s", ErrClaim, c.Generation, g)
	}
	return nil
}

// Check reports whether a provider whose generation is current may go from from to next: nil when it may, done when next
// is current already, otherwise [ErrClaim].
func (g Generation) Check(from, next Generation) (done bool, err error) {
	switch {
	case next.Number != from.Number+1 || next.Number == 0 || next.Instance.IsZero():
		return false, fmt.Errorf("%w: generation %s does not follow %s", ErrClaim, next, from)
	case g == next:
		return true, nil
	case g != from:
		return false, fmt.Errorf("%w: generation is %s, not %s", ErrClaim, g, from)
	}
	return false, nil
}

// Anchor is what the key side remembers about the store that it belongs to.
type Anchor interface {
	// Sentinel returns the sentinel, or ErrClaim when the provider has none (it was never set up, or is another).
	Sentinel(ctx context.Context) (Sentinel, error)

	// Generation returns the current generation; the zero Generation before the first Advance.
	Generation(ctx context.Context) (Generation, error)

	// Advance makes next the generation if from is the current one or next already is (a repeated call succeeds);
	// otherwise ErrClaim. next.Number is from.Number+1. Durable before it returns; of two racing calls one wins.
	Advance(ctx context.Context, from, next Generation) error

	// Mark returns the current mark; the zero Mark before the first SetMark.
	Mark(ctx context.Context) (Mark, error)

	// SetMark makes next the mark if from is the current one or next already is (a repeated call succeeds); otherwise
	// ErrClaim. Durable before it returns; of two racing calls one wins.
	SetMark(ctx context.Context, from, next Mark) error
}

// Settler is a provider of which nothing comes to pass once whoever asked for it has ended. Of any other it may, for as long as [Settle].
type Settler interface {
	// Settle makes durable whatever earlier processes left, as far as it is there to be seen.
	Settle(ctx context.Context) error
}

// Provider is everything Sandyq asks of a key provider.
type Provider interface {
	KMS
	MACer
	Signer
	Anchor
	// Close waits for calls under way, ends background work and forgets secrets. Calls that follow fail with
	// [ErrUnavailable].
	Close() error
}
