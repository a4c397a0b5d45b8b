package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/token"
)

// permit is the keyring's.
type permit = keyring.Permit

// writingKeys are keys opened to seal new values and to compare them with what is held. Nothing they open leaves the
// service before an Update has found the person unchanged, so no grant stands behind them: see disclose for the other way.
type writingKeys struct {
	service *Service
	opened  *keyring.Opened
	at      map[kms.ID]int // place in opened
	fresh   []*keyring.Opened
}

func (k *writingKeys) open(ctx context.Context, p permit, ids []kms.ID, lacking int, plans []*plan) (err error) {
	if k.opened, err = k.service.keyring.Open(ctx, p, ids...); err != nil {
		return err
	}
	k.at = make(map[kms.ID]int, len(ids))
	for i, id := range ids {
		k.at[id] = i
	}
	if lacking == 0 {
		return nil
	}
	fresh, err := k.service.keyring.Fresh(ctx, lacking)
	if err != nil {
		for _, p := range plans {
			if p.needs() > 0 && p.refusal == nil && !p.replayed {
				p.refusal = fault.From(edge(err))
			}
		}
		return nil
	}
	k.fresh = fresh
	next := 0
	for _, p := range plans {
		if p.refusal != nil || p.replayed {
			continue
		}
		for range p.needs() {
			p.fresh = append(p.fresh, next)
			next++
		}
	}
	return nil
}

// key is the key of a slice of the plan's person, and its id.
func (k *writingKeys) key(p *plan, slice string) (kms.ID, secret.Bytes, error) {
	if i := slices.Index(p.lacks, slice); i >= 0 {
		o := k.fresh[p.fresh[i]]
		key, err := o.Key(0)
		return o.ID(0), key, err
	}
	id := p.person.row.Keys[slice]
	key, err := k.of(id)
	return id, key, err
}

// proofKey is the key of the proof of the consent that the plan brings, and its id.
func (k *writingKeys) proofKey(p *plan) (kms.ID, secret.Bytes, error) {
	o := k.fresh[p.fresh[len(p.lacks)]]
	key, err := o.Key(0)
	return o.ID(0), key, err
}

// of is a key that is held already.
func (k *writingKeys) of(id kms.ID) (secret.Bytes, error) {
	at, ok := k.at[id]
	if !ok {
		return secret.Bytes{}, errors.New("a key that was not asked for")
	}
	key, err := k.opened.Key(at)
	return key, k.service.keyTrouble(err)
}

// keep ends the freshness of keys that an Update has consumed.
func (k *writingKeys) keep(p permit, fresh []int) {
	for _, i := range fresh {
		k.service.keyring.Keep(k.fresh[i], p)
	}
}

func (k *writingKeys) close() {
	if k.opened != nil {
		k.opened.Close()
	}
	for _, o := range k.fresh {
		o.Close()
	}
}

// writing is one plan being written out.
type writing struct {
	*Service
	*change
	plan *plan
	keys *writingKeys
	now  stamp
}

// write seals what an item brings and drafts the change.
func (s *Service) write(p *plan, keys *writingKeys) (*draft, error) {
	w := &writing{s, s.changed(p.person), p, keys, stampOf(s.Clock())}
	system := p.call.Principal.System
	if p.created = p.person.holding == nil; p.created {
		s.hold(w.change, p.person, system)
	}
	w.adoptKeys()
	if err := w.ref(); err != nil {
		return nil, err
	}
	p.answer()
	for i := range p.item.fields {
		if err := w.field(i); err != nil {
			return nil, err
		}
	}
	if err := w.consent(); err != nil {
		return nil, err
	}
	collected(w.change, p.person.holding, p.item.purpose)
	s.setHolding(w.change, p.person, system)
	what := done{Subject: p.person.id, Created: p.created, Tokens: p.texts(), Differs: p.differs}
	if p.consent != nil {
		what.Object = p.consent.id
	}
	p.item.once.keep(&w.draft, p.item.at, what)
	return s.done(w.change), w.fits()
}

// adoptKeys gives the person the fresh keys of the slices they lacked.
func (w *writing) adoptKeys() {
	for i, slice := range w.plan.lacks {
		id := w.keys.fresh[w.plan.fresh[i]].ID(0)
		w.row.Keys[slice] = id
		w.consumeKey(&w.draft, id)
	}
}

// ref gives the person the system's own key for them.
func (w *writing) ref() error {
	ref := w.plan.item.ref
	if ref == nil {
		return nil
	}
	h := w.plan.person.holding
	if h.Ref != nil {
		if entered, ok := w.plan.refEntered[0]; !ok || !ref.is(entered) {
			return conflict("external_ref", "this person has another")
		}
		return nil
	}
	_, key, err := w.keys.key(w.plan, schema.IdentitySlice)
	if err != nil {
		return err
	}
	h.Ref, err = envelope.Seal(key, w.context(sealedRef, w.id, w.plan.call.Principal.System, 1), []byte(ref.value))
	if err != nil {
		return err
	}
	w.index(ref, true, 0)
	return nil
}

func conflict(field, rule string) *fault.Error {
	return &fault.Error{
		Code: fault.Conflict, Detail: "this contradicts what is held", Fields: []fault.Field{{Field: field, Rule: rule}},
	}
}

// field brings in the values of one field.
func (w *writing) field(i int) error {
	f, h := w.plan.item.fields[i], w.plan.heldIn(i)
	slots := make([]uint16, len(f.values))
	for n, v := range f.values {
		slot, found, err := w.same(f, h, n)
		if err != nil {
			return err
		}
		switch {
		case found:
		case !f.Many && len(h.records) > 0:
			if w.plan.item.request.OnConflict != api.ConflictKeep {
				return conflict(f.Name, "has another value")
			}
			w.plan.differs = append(w.plan.differs, f.Name)
			if slot = h.records[0].slot; h.tokens[slot] == "" {
				return nil // another system's value: this one is told that it differs, and nothing that leads to it
			}
		case len(h.records) >= f.MaxValues:
			return fault.Bad(f.Name, tooMany(f.Field))
		default:
			if slot, err = w.add(f, &h, n, v); err != nil {
				return err
			}
		}
		slots[n] = slot
	}
	return w.name(f, h, slots)
}

// name gives the values in the slots their tokens.
func (w *writing) name(f fieldValues, h held, slots []uint16) error {
	if w.plan.person.holding == nil {
		return nil // staff who correct what they do not hold get no tokens of it
	}
	tokens := make([]string, len(slots))
	for n, slot := range slots {
		t, err := w.token(f, h, slot)
		if err != nil {
			return err
		}
		tokens[n] = string(t)
	}
	w.plan.tokens[f.Name] = api.OneOrMany[string]{Items: tokens, List: f.list}
	return nil
}

// same finds the slot that already has the n-th value.
func (w *writing) same(f fieldValues, h held, n int) (slot uint16, found bool, err error) {
	for _, r := range h.records {
		if entered, ok := h.indexed[r.slot]; ok && f.Searchable {
			if f.lookups[n].is(entered) {
				return r.slot, true, nil
			}
			continue
		}
		key, err := w.keys.of(r.Key)
		if err != nil {
			return 0, false, err
		}
		v, err := w.openValue(key, w.id, f.Name, r)
		if err != nil {
			return 0, false, err
		}
		if v.Equal(f.values[n]) {
			return r.slot, true, nil
		}
	}
	return 0, false, nil
}

// add seals the n-th value into the next slot.
func (w *writing) add(f fieldValues, h *held, n int, v schema.Value) (uint16, error) {
	keyID, key, err := w.keys.key(w.plan, f.Slice)
	if err != nil {
		return 0, err
	}
	slot := h.freeSlot()
	row := &recordRow{
		Key: keyID, Version: w.row.Revision, Updated: w.now,
		Source: w.plan.item.request.Source, ProvidedBy: w.plan.provider,
	}
	if row.Sealed, err = w.sealValue(key, w.id, f.Name, slot, row.Version, v); err != nil {
		return 0, err
	}
	if f.Searchable {
		h.indexed[slot] = w.index(f.lookups[n], f.Unique, slot)
	}
	w.set(w.rows.record(w.id, f.Name, slot), encodeRow(row))
	w.row.Counts.Fields++
	w.row.sealed(keyID, string(f.Category), 1, 0)
	h.records = slices.Insert(slices.Clone(h.records), int(slot), record{slot, row})
	return slot, nil
}

// token is the system's token for a slot, issued now if it has none.
func (w *writing) token(f fieldValues, h held, slot uint16) (token.Token, error) {
	if t, ok := h.tokens[slot]; ok {
		return t, nil
	}
	t, err := w.issue(w.change, w.plan.person.holding, w.plan.call.Principal.System, f.Field, slot)
	if err == nil {
		h.tokens[slot] = t
	}
	return t, err
}
