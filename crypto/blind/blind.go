// Package blind makes the entries of keyed lookup indexes: equality search over values that are nowhere stored in the clear.
//
// # Format
//
// For a normalised value, the key provider computes the MAC
//
//	HMAC-SHA256(K, Input(tenant, field, value))
//
// under an index key K that never leaves it, and the entry is
//
//	epoch 4 bytes   number of the epoch, big-endian, from 1
//	block 16 bytes  AES-256, one block, under the key E of the epoch, of the first 16 bytes of the MAC
//
// # Invariants
//
// Equal values of one tenant and field give equal entries within an epoch, and nothing else does, save with chance 2⁻¹²⁸.
// Whoever holds entries but not the live use of K learns only which are equal: guessing values needs K. An epoch's key is
// not needed to search but makes entries mortal: Remap carries live entries to a new epoch without the values and without K,
// after which destroying the old E turns every copy of an old entry into noise.
package blind

import (
	"crypto/aes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/secret"
)

const (
	// KeySize is the length of an epoch's key, in bytes.
	KeySize = 32
	// MACSize is the length of the MAC an entry is made from, in bytes.
	MACSize = 32
	// EntrySize is the length of an entry, in bytes.
	EntrySize = epochSize + aes.BlockSize

	epochSize = 4
)

// format is the first part of every input; it keeps index MACs apart from all other MACs under the same key.
const format = "sandyq/blind/1"

// Input returns what the key provider MACs for a normalised value of a field of a tenant: format, tenant, field and value,
// each after its length in bytes as a big-endian uint32. The encoding is injective. It holds the value: treat it as secret.
func Input(tenant, field, value string) []byte {
	parts := [...]string{format, tenant, field, value}
	size := 0
	for _, p := range parts {
		size += 4 + len(p)
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// Entry is what an index stores and is searched by: the epoch's number, then the block.
type Entry [EntrySize]byte

// Epoch returns the number of the epoch the entry belongs to.
func (e Entry) Epoch() uint32 { return binary.BigEndian.Uint32(e[:epochSize]) }

// ErrEpoch reports an entry of another epoch than the one it was to be remapped from.
var ErrEpoch = errors.New("blind: entry of another epoch")

// Epoch makes the entries of one epoch. It is immutable and may be used by many goroutines at once.
type Epoch struct {
	number           uint32
	encrypt, decrypt func(dst, src []byte) // AES of one block; functions, because fmt walks into a cipher and shows its key
}

// NewEpoch returns the epoch of a number, from 1, with its key of KeySize bytes. The key is not kept; its schedule is.
func NewEpoch(number uint32, key secret.Bytes) (*Epoch, error) {
	if number == 0 {
		return nil, errors.New("blind: epochs are numbered from 1")
	}
	if key.Len() != KeySize {
		return nil, fmt.Errorf("blind: epoch key of %d bytes, not %d", key.Len(), KeySize)
	}
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, fmt.Errorf("blind: keying: %w", err)
	}
	return &Epoch{number, block.Encrypt, block.Decrypt}, nil
}

// Number returns the epoch's number.
func (e *Epoch) Number() uint32 { return e.number }

// Entry returns the entry for a MAC of MACSize bytes over an Input.
func (e *Epoch) Entry(mac []byte) (Entry, error) {
	if len(mac) != MACSize {
		return Entry{}, fmt.Errorf("blind: MAC of %d bytes, not %d", len(mac), MACSize)
	}
	return e.seal(mac[:aes.BlockSize]), nil
}

// Remap returns the entry of this epoch for the value that old stands for in the epoch from. An entry that is not of that
// epoch gives ErrEpoch.
func (e *Epoch) Remap(from *Epoch, old Entry) (Entry, error) {
	if old.Epoch() != from.number {
		return Entry{}, fmt.Errorf("%w: of %d, not %d", ErrEpoch, old.Epoch(), from.number)
	}
	var mac [aes.BlockSize]byte
	from.decrypt(mac[:], old[epochSize:])
	return e.seal(mac[:]), nil
}

func (e *Epoch) seal(mac []byte) Entry {
	var entry Entry
	binary.BigEndian.PutUint32(entry[:], e.number)
	e.encrypt(entry[epochSize:], mac)
	return entry
}
