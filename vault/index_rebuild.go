package vault

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// lostEntry is an entry of an epoch whose key is gone, with what its value is sealed in.
type lostEntry struct {
	indexed store.Pair
	id      SubjectID
	field   string
	slot    uint16
	source  store.Pair                         // the row that has the value
	key     kms.ID                             // that it is sealed under
	open    func(secret.Bytes) (string, error) // what is looked up of it
	lookup  *lookup
}

// rebuild makes the lost ones of the next entries anew from what is sealed in the records. Nothing leaves the service, so no
// grant stands behind it, and a blocked person's are made like anybody's: nobody else may come to have their values. What
// cannot be opened, or has become somebody else's, stays as it is; move counts it.
func (x *index) rebuild(ctx context.Context, e *epochs, atOnce int) error {
	for range maxRounds {
		permit := x.service.keyring.Permit()
		lost, err := x.lost(ctx, e, atOnce)
		if err != nil || len(lost) == 0 {
			return err
		}
		opened, again, err := x.reopen(ctx, permit, lost)
		if err != nil {
			return err
		}
		stale, err := x.reenter(ctx, e, opened)
		if err != nil || !stale && !again {
			return err
		}
	}
	return errContended
}

// lost reads the lost ones of the next entries, save those whose value is not there.
func (x *index) lost(ctx context.Context, e *epochs, atOnce int) (lost []*lostEntry, err error) {
	s := x.service
	err = s.Store.View(ctx, func(r store.Reader) error {
		lost = nil
		if err := x.unchanged(r, e); err != nil {
			return err
		}
		c, _, err := s.indexCursor(r)
		if err != nil {
			return err
		}
		pairs, err := r.Scan(s.rows.key(kindIndexed), c.After, atOnce)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if n := blind.Entry(p.Value[1:]).Epoch(); n == e.row.Current || e.leaving != nil && n == e.row.Leaving {
				continue
			}
			one := &lostEntry{indexed: store.Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)}}
			one.id, one.field, one.slot = s.rows.indexedParts(one.indexed.Key)
			if err := x.source(r, one); err != nil {
				return err
			}
			if one.open != nil {
				lost = append(lost, one)
			}
		}
		return nil
	})
	return lost, err
}

// source finds the row that has the value of an entry: a record, or the holding of a system for its external_ref.
func (x *index) source(r store.Reader, one *lostEntry) error {
	s := x.service
	if system, ok := strings.CutPrefix(one.field, refField("")); ok {
		return x.refSource(r, one, system)
	}
	one.source.Key = s.rows.record(one.id, one.field, one.slot)
	row, err := getRow[recordRow](r, one.source.Key)
	if err != nil || row == nil {
		return err
	}
	one.source.Value, one.key = encodeRow(row), row.Key
	one.open = func(key secret.Bytes) (string, error) {
		v, err := s.openValue(key, one.id, one.field, record{one.slot, row})
		if err != nil {
			return "", err
		}
		return v.Key(), nil
	}
	return nil
}

func (x *index) refSource(r store.Reader, one *lostEntry, system string) error {
	s := x.service
	p, err := s.load(r, one.id, system)
	if err != nil || p == nil || p.holding == nil || p.holding.Ref == nil {
		return err
	}
	one.source = store.Pair{Key: s.rows.holding(one.id, system), Value: encodeRow(p.holding)}
	one.key = p.row.Keys[schema.IdentitySlice]
	one.open = func(key secret.Bytes) (string, error) {
		plain, err := envelope.Open(key, s.context(sealedRef, one.id, system, 1), p.holding.Ref)
		if err != nil {
			return "", err
		}
		defer clear(plain)
		return string(plain), nil
	}
	return nil
}

// reopen opens the values and has them MACed. Those whose key is missing or withheld, or does not open them, fall out; the next
// rotation tries them again. again tells that one was purged meanwhile, with whatever changed.
func (x *index) reopen(ctx context.Context, permit permit, lost []*lostEntry) (opened []*lostEntry, again bool, err error) {
	s := x.service
	ids := make([]kms.ID, len(lost))
	for i, one := range lost {
		ids[i] = one.key
	}
	keys, err := s.keyring.Open(ctx, permit, ids...)
	if err != nil {
		return nil, false, err
	}
	defer keys.Close()
	var inputs [][]byte
	for i, one := range lost {
		key, err := keys.Key(i)
		switch {
		case errors.Is(err, keyring.ErrPurged):
			again = true
			continue
		case errors.Is(err, keyring.ErrMissing), errors.Is(err, kms.ErrWithheld):
			_ = s.keyTrouble(err) // which is told, and holds nobody else up
			continue
		case errors.Is(err, kms.ErrCorrupt):
			s.missed()
			continue
		case err != nil:
			return nil, false, err
		}
		value, err := one.open(key)
		if err != nil {
			s.Log.ErrorContext(ctx, "an index entry cannot be rebuilt", "error", err)
			continue
		}
		one.lookup = &lookup{field: one.field}
		inputs, opened = append(inputs, blind.Input(s.Tenant, one.field, value)), append(opened, one)
	}
	if len(opened) == 0 {
		return nil, again, nil
	}
	macs, err := s.keyring.MAC(ctx, inputs...)
	for i, one := range opened {
		if err == nil {
			one.lookup.mac = macs[i]
		}
	}
	return opened, again, err
}

// reenter enters the values in the current epoch, if they are still what was opened. A value that is somebody's already is
// not taken from them. stale tells that something changed meanwhile.
func (x *index) reenter(ctx context.Context, e *epochs, lost []*lostEntry) (stale bool, err error) {
	s := x.service
	drafts := make([]*draft, 0, len(lost))
	for _, one := range lost {
		if err := one.lookup.enter(e); err != nil {
			return false, err
		}
		drafts = append(drafts, x.reentry(e, one))
	}
	written, err := commit(ctx, s.Store, drafts...)
	if err != nil {
		return false, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		stale = false
		for i, one := range lost {
			if written[i] {
				continue
			}
			taken, err := s.owners(r, []*lookup{one.lookup})
			if err != nil {
				return err
			}
			stale = stale || one.indexed.Value[0] != 1 || taken[0] == nil
		}
		return nil
	})
	return stale, err
}

// reentry drafts one entry.
func (x *index) reentry(e *epochs, one *lostEntry) *draft {
	l := x.service.rows
	unique, old, entry := one.indexed.Value[0] == 1, blind.Entry(one.indexed.Value[1:]), one.lookup.entry
	d := &draft{}
	d.expect(l.meta(metaIndex), e.raw)
	d.expect(one.indexed.Key, one.indexed.Value)
	d.expect(one.source.Key, one.source.Value)
	if unique {
		for _, all := range one.lookup.all() {
			d.expect(l.unique(one.field, all), nil)
		}
		d.delete(l.unique(one.field, old))
		d.set(l.unique(one.field, entry), owner(one.id, one.slot))
	} else {
		d.delete(l.lookup(one.field, old, one.id, one.slot))
		d.set(l.lookup(one.field, entry, one.id, one.slot), nil)
	}
	d.set(one.indexed.Key, encodeIndexed(entry, unique))
	return d
}
