package vault

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
)

// Recast seals a tenant's rows under the keys of another provider, each under the key with the same id, which it makes. It is a
// move.Recast. What two forms of a row say is the row with a MAC in place of each sealed value, under a key of this Recast: sides can be held
// against each other, and sums of them told, without anybody learning or guessing a value by them.
//
// What is sealed under a key that is not at the old provider stays as it is. That is what is left of erasures that have destroyed
// theirs; of living people's it is noted, and Rekeying.HandOver refuses. What does not open under a key that is there stops the move.
type Recast struct {
	rows     layout
	old, new *openKeys
	mac      [32]byte
	missing  map[SubjectID]struct{}
	held     *heldKeys
	ahead    func(context.Context) error // fails when another try goes on with the move
}

// Recast makes the sealing anew that goes with the move: there is one of each try, as HandOver goes by what it has seen. It is for one goroutine.
// Close forgets the keys.
func (m *Rekeying) Recast(ctx context.Context) (*Recast, error) {
	if m.recast != nil {
		return nil, errors.New("there is a sealing anew of this try, and all is to be copied with that one")
	}
	mark, err := m.mark(ctx, m.From.Store)
	if err != nil {
		return nil, err
	}
	if mark == nil {
		return nil, errors.New("the move was not begun")
	}
	c := &Recast{
		rows: layout{m.Tenant}, old: newOpenKeys(m.Old, mark.Old, m.Clock), new: newOpenKeys(m.New, mark.New, m.Clock), missing: map[SubjectID]struct{}{},
		held: newHeldKeys(), ahead: m.ahead,
	}
	_, _ = rand.Read(c.mac[:]) // never fails (crypto/rand)
	m.recast = c
	return c, nil
}

// Close forgets the keys.
func (c *Recast) Close() {
	c.old.forget()
	c.new.forget()
}

// Anew implements move.Recast.
func (c *Recast) Anew() {
	c.Close()
	clear(c.missing)
	clear(c.held.keys)
}

// Look sees that the new provider has every key that something at the target opened with; ErrSupplanted when it has not. At which it has
// looked, it does not look again: whoever looks before the switch makes that short.
func (c *Recast) Look(ctx context.Context) error { return c.held.look(ctx, c.new.provider) }

// Make implements move.Recast.
func (c *Recast) Make(ctx context.Context, source store.Reader, rows []store.Pair) ([][]byte, error) {
	read, err := c.rows.sealedInAll(source, rows)
	if err != nil {
		return nil, err
	}
	ids := keysOf(read)
	old, err := c.old.open(ctx, ids)
	if err != nil {
		return nil, err
	}
	if err := c.ahead(ctx); err != nil {
		return nil, err
	}
	made, err := c.new.make(ctx, present(old, ids))
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(rows))
	for i, one := range read {
		for _, s := range one.seals {
			if old[s.key].Missing() {
				continue
			}
			plain, err := s.open(old[s.key].Secret, false)
			if err != nil {
				return nil, cannotOpen(rows[i].Key)
			}
			sealed, err := envelope.Seal(made[s.key].Secret, s.context, plain)
			clear(plain)
			if err != nil {
				return nil, err
			}
			s.set(sealed)
		}
		values[i] = one.encode()
	}
	return values, nil
}

// cannotOpen names the kind of a row and not the row.
func cannotOpen(key []byte) error {
	return fmt.Errorf("a row of the kind %c does not open under the key that it names: the source is damaged", KindOfRow(key))
}

// present are those of the ids of which there is a key.
func present(keys map[kms.ID]kms.Key, ids []kms.ID) (there []kms.ID) {
	for _, k := range ids {
		if !keys[k].Missing() {
			there = append(there, k)
		}
	}
	return there
}

// Says implements move.Recast.
func (c *Recast) Says(ctx context.Context, source store.Reader, target bool, rows []store.Pair) ([][]byte, error) {
	read, err := c.rows.sealedInAll(source, rows)
	if err != nil {
		return nil, err
	}
	side := c.old
	if target {
		side = c.new
	}
	keys, err := side.open(ctx, keysOf(read))
	if err != nil {
		return nil, err
	}
	said := make([][]byte, len(rows))
	for i, one := range read {
		if !target {
			c.living(one, keys)
		}
		opens, err := c.say(one, keys, target)
		if err != nil {
			return nil, err
		}
		if !opens && !target {
			return nil, cannotOpen(rows[i].Key)
		}
		said[i] = one.encode()
	}
	return said, nil
}

// living notes whether a living person has keys that are missing.
func (c *Recast) living(one sealedRow, keys map[kms.ID]kms.Key) {
	if one.person == nil {
		return
	}
	delete(c.missing, *one.person)
	for _, s := range one.seals {
		if keys[s.key].Missing() {
			c.missing[*one.person] = struct{}{}
		}
	}
}

// say puts MACs in place of what is sealed. opens is false when something does not open under a key that is there: it is left as it is. At the
// target that is what the source sealed, if the source does not have the key any more, or else it is to be made anew. The keys that the target's
// opens with are held; ErrSupplanted when other things opened with others.
func (c *Recast) say(one sealedRow, keys map[kms.ID]kms.Key, target bool) (opens bool, err error) {
	opens = true
	for _, s := range one.seals {
		if keys[s.key].Missing() {
			continue
		}
		plain, err := s.open(keys[s.key].Secret, target)
		if err != nil {
			opens = false
			continue
		}
		if target {
			if err := c.held.hold(s.key, keys[s.key]); err != nil {
				clear(plain)
				return false, err
			}
		}
		mac := hmac.New(sha256.New, c.mac[:])
		_, _ = mac.Write(plain) // never fails
		clear(plain)
		s.set(mac.Sum(nil))
	}
	return opens, nil
}

// Recasts are those of several tenants of one store, by the prefixes of their rows. It is a move.Recast.
type Recasts map[string]*Recast

// Anew implements move.Recast.
func (all Recasts) Anew() {
	for _, c := range all {
		c.Anew()
	}
}

// Look is that of each.
func (all Recasts) Look(ctx context.Context) error {
	for _, c := range all {
		if err := c.Look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Make implements move.Recast.
func (all Recasts) Make(ctx context.Context, source store.Reader, rows []store.Pair) ([][]byte, error) {
	return all.each(rows, func(c *Recast, some []store.Pair) ([][]byte, error) { return c.Make(ctx, source, some) })
}

// Says implements move.Recast.
func (all Recasts) Says(ctx context.Context, source store.Reader, target bool, rows []store.Pair) ([][]byte, error) {
	return all.each(rows, func(c *Recast, some []store.Pair) ([][]byte, error) { return c.Says(ctx, source, target, some) })
}

func (all Recasts) each(rows []store.Pair, f func(*Recast, []store.Pair) ([][]byte, error)) ([][]byte, error) {
	values := make([][]byte, len(rows))
	for prefix, c := range all {
		var some []store.Pair
		var at []int
		for i, p := range rows {
			if bytes.HasPrefix(p.Key, []byte(prefix)) {
				some, at = append(some, p), append(at, i)
			}
		}
		got, err := f(c, some)
		if err != nil {
			return nil, err
		}
		for i, n := range at {
			values[n] = got[i]
		}
	}
	return values, nil
}
