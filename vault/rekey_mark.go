package vault

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/store"
)

// metaRekey names the mark of a move of keys, which both stores have while it lasts. Each has its own; it is never carried.
const metaRekey = "rekey"

// rekeyRow is the mark: between which providers and places, and how far it has come.
type rekeyRow struct {
	Old   kms.Sentinel  `cbor:"1,keyasint"`
	New   kms.Sentinel  `cbor:"2,keyasint"`
	From  string        `cbor:"3,keyasint"`
	To    string        `cbor:"4,keyasint"`
	First generationRow `cbor:"5,keyasint"` // of the new keys: they are this move's, and then the target's
	Ended kms.ID        `cbor:"6,keyasint"` // of a key that is made at the new provider once no old key is left: see Retire
	// Held is the generation of the old keys when all was at the target, and Last the one that they are to go on to, after which the
	// source is superseded. Both are in either mark before the old provider is told. A step of which nobody knows whether it
	// comes yet is told again as it was: it comes from Held, or not at all.
	Held generationRow `cbor:"7,keyasint"`
	Last generationRow `cbor:"8,keyasint"`
	// Whole, at the target, says that it has all that the source has: it is taken back before anything is copied anew.
	Whole bool `cbor:"9,keyasint"`
	// Again says that keys of the new provider may come late: they were asked for by an earlier try, which may have been cut off, or
	// were not answered. See Rekeying.settle.
	Again bool `cbor:"10,keyasint"`
	// Try is the id of the try that has the move: another one in its place ends whichever has not got it. See Rekeying.Fence.
	Try kms.ID `cbor:"11,keyasint"`
}

// is reports whether two marks are of one move.
func (row *rekeyRow) is(other *rekeyRow) bool {
	if row == nil || other == nil {
		return false
	}
	return row.begun() == other.begun()
}

// begun is the mark as it was when the move began.
func (row *rekeyRow) begun() rekeyRow {
	was := *row
	was.Held, was.Last, was.Whole, was.Again, was.Try = generationRow{}, generationRow{}, false, false, kms.ID{}
	return was
}

// steps reports whether the old keys, at current, are where the last step begins or where it ends.
func (row *rekeyRow) steps(current kms.Generation) bool {
	return row != nil && row.Last != (generationRow{}) && (current == row.Held.generation() || row.stepped(current))
}

// stepped reports whether the old keys, at current, have gone the last step: the source is superseded by this move.
func (row *rekeyRow) stepped(current kms.Generation) bool {
	return row != nil && row.Last != (generationRow{}) && current == row.Last.generation()
}

func readRekey(ctx context.Context, s store.Store, rows layout) (row *rekeyRow, err error) {
	err = s.View(ctx, func(r store.Reader) error {
		row, err = getRow[rekeyRow](r, rows.meta(metaRekey))
		return err
	})
	return row, err
}

func (m *Rekeying) mark(ctx context.Context, s store.Store) (*rekeyRow, error) {
	return readRekey(ctx, s, layout{m.Tenant})
}

// again is the mark of a move for another try of it, which goes on from what a store has by now: nil before the first. It fails with ErrOtherMove when that is the mark of
// another move.
func (row *rekeyRow) again(was *rekeyRow, try kms.ID) (*rekeyRow, error) {
	next := *row
	if was != nil {
		if !was.is(row) {
			return nil, ErrOtherMove
		}
		next = *was
		next.Again = true
	}
	next.Try = try
	return &next, nil
}

// setMark changes the mark of a store: what it is to be is made of what is there in the same Update, as another try may have been at work since this one
// looked. A nil one leaves the store as it is.
func (m *Rekeying) setMark(ctx context.Context, s store.Store, change func(was *rekeyRow) (*rekeyRow, error)) error {
	key := layout{m.Tenant}.meta(metaRekey)
	return s.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		was, err := getRow[rekeyRow](w, key)
		if err != nil {
			return err
		}
		row, err := change(was)
		if err != nil || row == nil {
			return err
		}
		return w.Set(key, encodeRow(row))
	})
}

// departure is a generation that keys go on to when a vault leaves them. Who looks at the keys alone knows it, so a backup that was taken
// before the move, and has no mark, does: the second half of the instance is a hash of the sentinel, the number and the first half, which is random.
func departure(from kms.Generation, sentinel kms.Sentinel) kms.Generation {
	next := kms.Generation{Number: from.Number + 1, Instance: kms.NewID()}
	next.Instance = departing(sentinel, next)
	return next
}

// departing is what the instance of a generation is if it is a departure.
func departing(sentinel kms.Sentinel, g kms.Generation) kms.ID {
	const half = len(g.Instance) / 2
	h := sha256.New()
	_, _ = h.Write([]byte("sandyq/departure/\x01")) // never fails
	_, _ = h.Write(sentinel[:])
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, g.Number))
	_, _ = h.Write(g.Instance[:half])
	copy(g.Instance[half:], h.Sum(nil))
	return g.Instance
}

// errMovedOn refuses to promote a store whose keys were moved, or a backup of it.
var errMovedOn = errors.New("the keys of this vault were moved, and it goes on under others: use that one, or run the same migrate-store again")

// movedOn fails with errMovedOn for a store that a move of keys has superseded, or is about to: the old keys, at current, were left, or are where
// the last step begins of the move that the store's mark is of. If they have gone on otherwise that step never comes.
func movedOn(ctx context.Context, s store.Store, rows layout, sentinel kms.Sentinel, current kms.Generation) error {
	if current.Instance == departing(sentinel, current) {
		return errMovedOn
	}
	mark, err := readRekey(ctx, s, rows)
	if err == nil && mark != nil && mark.Old == sentinel && mark.steps(current) {
		err = errMovedOn
	}
	return err
}

// unmoved is a provider of which no key is destroyed while its store has the mark of a move of keys: see Rekeying.
type unmoved struct {
	kms.KMS
	service *Service
}

// errKeysMove is as if the provider could not be reached: whoever wants to destroy waits and tries again.
var errKeysMove = fmt.Errorf("keys are being moved to another provider, and none is destroyed until that has ended: %w", kms.ErrUnavailable)

// Destroy implements kms.KMS.
func (u unmoved) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	mark, err := readRekey(ctx, u.service.Store, u.service.rows)
	if err != nil {
		return fmt.Errorf("whether keys are being moved: %w", err)
	}
	if mark != nil {
		if err := u.ended(ctx, mark); err != nil {
			return err
		}
	}
	return u.KMS.Destroy(ctx, claim, ids...)
}

// ended takes the mark away from a store that was restored from before the old keys were destroyed, which the new provider tells.
// Otherwise it fails with errKeysMove.
func (u unmoved) ended(ctx context.Context, mark *rekeyRow) error {
	there, err := hasKey(ctx, u.KMS, mark.Ended)
	if err != nil {
		return fmt.Errorf("whether keys are being moved: %w", err)
	}
	if !there {
		return errKeysMove
	}
	s := u.service
	var d draft
	if err := s.log(&d, &audit.Entry{System: itself, Operation: keysRetired, Decision: audit.Allow}); err != nil {
		return err
	}
	d.delete(s.rows.meta(metaRekey))
	_, err = commit(ctx, s.Store, &d)
	return err
}

// hasKey reports whether a provider has a key.
func hasKey(ctx context.Context, provider kms.KMS, id kms.ID) (bool, error) {
	keys, err := provider.Open(ctx, id)
	if err != nil {
		return false, err
	}
	defer keys[0].Secret.Wipe()
	return !keys[0].Missing(), nil
}
