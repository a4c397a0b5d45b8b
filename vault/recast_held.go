package vault

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
)

// ErrSupplanted: keys that something at the target is sealed under are not at the new provider any more, or others are in their place.
var ErrSupplanted = errors.New("the new provider has lost keys that were sealed under in this move, or has others in their place")

// heldKeys are the keys that something at the target was seen to open with since everything was last begun anew, each with a mark by which another in its place is
// told. So what was read on both sides does open with what the provider has, as long as it has these. It takes some 60 bytes of memory a key.
type heldKeys struct {
	mac  [32]byte
	keys map[kms.ID]heldKey
}

// heldKey is what is known of one.
type heldKey struct {
	mark   heldMark
	looked bool // it was seen to be there since
}

// heldMark is half of an HMAC of a key, under a key of this process.
type heldMark [16]byte

func newHeldKeys() *heldKeys {
	h := &heldKeys{keys: map[kms.ID]heldKey{}}
	_, _ = rand.Read(h.mac[:]) // never fails (crypto/rand)
	return h
}

func (h *heldKeys) mark(k kms.Key) (m heldMark) {
	mac := hmac.New(sha256.New, h.mac[:])
	_, _ = mac.Write(k.Secret.Expose()) // never fails
	copy(m[:], mac.Sum(nil))
	return m
}

// hold notes a key that something opened with. It fails with ErrSupplanted when something else did with another.
func (h *heldKeys) hold(id kms.ID, k kms.Key) error {
	now := h.mark(k)
	was, held := h.keys[id]
	if held && was.mark != now {
		return ErrSupplanted
	}
	h.keys[id] = heldKey{now, was.looked}
	return nil
}

// heldAtOnce is how many keys are asked for in one call.
const heldAtOnce = 512

// look sees that a provider has every one of them, and no other in its place. Each is opened once, whatever is sealed under it and however
// often it is looked.
func (h *heldKeys) look(ctx context.Context, provider kms.KMS) error {
	var ids []kms.ID
	for id, k := range h.keys {
		if !k.looked {
			ids = append(ids, id)
		}
	}
	for batch := range slices.Chunk(ids, heldAtOnce) {
		opened, err := provider.Open(ctx, batch...)
		if err != nil {
			return fmt.Errorf("open the new keys: %w", err)
		}
		supplanted := 0
		for i, id := range batch {
			held := h.keys[id]
			held.looked = !opened[i].Missing() && h.mark(opened[i]) == held.mark
			if !held.looked {
				supplanted++
			}
			h.keys[id] = held
			opened[i].Secret.Wipe()
		}
		if supplanted > 0 {
			return fmt.Errorf("%w: %d of %d that were looked at", ErrSupplanted, supplanted, len(batch))
		}
	}
	return nil
}
