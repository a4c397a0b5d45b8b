package vault

import (
	"bytes"
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// Rectify replaces values on evidence. Tokens stay: a corrected value goes by the token of the one it corrects. It is
// allowed while the person is blocked.
func (s *Service) Rectify(ctx context.Context, call Call, subject string, req *api.RectifyRequest) (*api.RectifyResponse, error) {
	resp, err := s.rectify(ctx, call, subject, req)
	return resp, edge(err)
}

func (s *Service) rectify(ctx context.Context, call Call, subject string, req *api.RectifyRequest) (*api.RectifyResponse, error) {
	r := access.Request{Action: access.Rectify, Purpose: req.Purpose}
	it, err := s.rectification(&r, call, req)
	if err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := s.index.entries(ctx, it.lookups...); err != nil {
		return nil, err
	}
	resp := &api.RectifyResponse{}
	return resp, s.once(ctx, call, access.Rectify, func(o *once) error {
		it.once, it.earlier = o, o.earlier(0)
		for range maxRounds {
			p, stale, err := s.rectifyRound(ctx, call, r, subject, it, req.Evidence)
			if err != nil {
				return err
			}
			if !stale {
				resp.Subject, resp.Tokens = p.person.name(call.Principal), p.tokens
				return nil
			}
		}
		return errContended
	})
}

// rectification checks the request and normalises its values.
func (s *Service) rectification(r *access.Request, call Call, req *api.RectifyRequest) (*item, error) {
	p, err := s.purposeNamed(req.Purpose)
	if err != nil {
		return nil, err
	}
	if r.Behalf, err = behalf(req.OnBehalfOf); err != nil {
		return nil, err
	}
	if err := checkOneOf("evidence.kind", req.Evidence.Kind, "document", "application", "self_service"); err != nil {
		return nil, err
	}
	if len(req.Evidence.Ref) > 200 {
		return nil, fault.Bad("evidence.ref", "at most 200 bytes")
	}
	it := s.prepare(&api.TokenizeItem{Fields: req.Fields}, &api.TokenizeResult{}, call, p, &once{}, 0)
	it.identity = req.Evidence.Ref != ""
	it.refuseRepeats()
	r.Fields = it.fieldNames()
	if e := it.result.Error; e != nil {
		refusal := &fault.Error{Code: e.Code, Detail: e.Detail, Fields: e.Errors}
		if e.Code != fault.Denied {
			return nil, refusal
		}
		r.Refusal = refusal
	}
	return it, nil
}

func (s *Service) rectifyRound(ctx context.Context, call Call, r access.Request, subject string, it *item, evidence api.Evidence) (*plan, bool, error) {
	permit := s.keyring.Permit()
	p := &plan{item: it, call: call}
	_, err := s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) error {
		p.person, p.held, p.refusal = who, nil, nil
		if who.row.state != stateActive {
			p.refusal = fault.New(fault.Erased, "this person is erased")
			return nil
		}
		return s.rectifiable(rd, p)
	})
	if err != nil {
		return nil, false, err
	}
	keys, err := s.keysFor(ctx, permit, []*plan{p})
	if err != nil {
		return nil, false, err
	}
	defer keys.close()
	d := deed{request: r}
	d.request.Subject, d.entry.Items, d.entry.Kind = p.person.id.String(), it.count(), evidence.Kind
	if p.refusal == nil {
		if d.effect, d.entry.Note, err = s.rectifying(p, keys, evidence); err != nil {
			p.refusal = fault.From(edge(err))
		}
	}
	d.request.Refusal = p.refusal
	permit = s.keyring.Permit()
	outcomes, err := s.perform(ctx, call, d)
	if err != nil {
		return nil, false, err
	}
	o := outcomes[0]
	if !o.stale && o.err == nil {
		keys.keep(permit, p.fresh)
	}
	return p, o.stale, o.err
}

// rectifiable reads what is to be replaced, and finds out whether a unique value is somebody else's.
func (s *Service) rectifiable(r store.Reader, p *plan) error {
	for _, l := range p.item.finders() {
		rows, err := r.Get(s.rows.unique(l.field, l.entry))
		if err != nil {
			return err
		}
		if rows[0] != nil && SubjectID(rows[0][:16]) != p.person.id {
			p.refusal = conflict(l.field, "belongs to another person")
			return nil
		}
	}
	if err := s.loadHeld(r, p); err != nil {
		return err
	}
	p.issued = nil
	return scanAll(r, s.rows.of(kindIssued, p.person.id), func(pair store.Pair) error {
		p.issued = append(p.issued, store.Pair{Key: bytes.Clone(pair.Key), Value: bytes.Clone(pair.Value)})
		return nil
	})
}

// rectifying drafts the correction and seals what it rests on.
func (s *Service) rectifying(p *plan, keys *writingKeys, evidence api.Evidence) (*draft, []byte, error) {
	w := &writing{s, s.changed(p.person), p, keys, stampOf(s.Clock())}
	w.adoptKeys()
	if p.person.holding == nil {
		s.hold(w.change, p.person, p.call.Principal.System)
	}
	p.tokens = make(map[string]api.OneOrMany[string], len(p.item.fields))
	for i := range p.item.fields {
		if err := w.correct(i); err != nil {
			return nil, nil, err
		}
	}
	w.decided()
	p.item.once.keep(&w.draft, 0, done{Subject: w.id})
	var note []byte
	if evidence.Ref != "" {
		_, key, err := keys.key(p, schema.IdentitySlice)
		if err != nil {
			return nil, nil, err
		}
		if note, err = envelope.Seal(key, s.context(sealedNote, w.id, "", 1), []byte(evidence.Ref)); err != nil {
			return nil, nil, err
		}
	}
	return s.done(w.change), note, nil
}

// correct brings one field to the values given: those already held stay where they are (their spelling may be new), the
// others take the slots that are left over, in order, and then new ones; slots left over after that go, with every
// system's tokens.
func (w *writing) correct(i int) error {
	f, h := w.plan.item.fields[i], w.plan.heldIn(i)
	slots := make([]int, len(f.values)) // each value's place in h.records; -1 for a new slot
	taken := make([]bool, len(h.records))
	for n := range f.values {
		at, err := w.sameRecord(f, h, n)
		if err != nil {
			return err
		}
		if at >= 0 {
			taken[at] = true
		}
		slots[n] = at
	}
	for n, at := range slots {
		if at < 0 {
			if at = slices.Index(taken, false); at < 0 {
				continue
			}
			slots[n], taken[at] = at, true
		}
		if err := w.replace(f, h.records[at], n); err != nil {
			return err
		}
	}
	for at, kept := range taken {
		if !kept {
			w.remove(f, h.records[at])
		}
	}
	return w.name(f, h, slots)
}

// sameRecord is same, as a place in the held records; -1 when none has the value.
func (w *writing) sameRecord(f fieldValues, h held, n int) (int, error) {
	slot, found, err := w.same(f, h, n)
	if err != nil || !found {
		return -1, err
	}
	return slices.IndexFunc(h.records, func(r record) bool { return r.slot == slot }), nil
}

// replace seals the n-th value over a record.
func (w *writing) replace(f fieldValues, old record, n int) error {
	keyID, key, err := w.keys.key(w.plan, f.Slice)
	if err != nil {
		return err
	}
	row := &recordRow{Key: keyID, Version: old.Version + 1, Updated: w.now, Source: old.Source, ProvidedBy: old.ProvidedBy}
	if row.Sealed, err = w.sealValue(key, w.id, f.Name, old.slot, row.Version, f.values[n]); err != nil {
		return err
	}
	if f.Searchable {
		row.Entry = f.lookups[n].entry[:]
		if !bytes.Equal(row.Entry, old.Entry) {
			w.dropIndex(f, old)
			w.index(f.lookups[n], f.Unique, old.slot)
		}
	}
	w.set(w.rows.record(w.id, f.Name, old.slot), encodeRow(row))
	return nil
}

// dropIndex takes a record's value out of the blind index.
func (w *writing) dropIndex(f fieldValues, old record) {
	if old.Entry == nil {
		return
	}
	row := store.Pair{Key: w.rows.indexed(w.id, f.Name, old.slot), Value: make([]byte, 1, 1+len(old.Entry))}
	if f.Unique {
		row.Value[0] = 1
	}
	row.Value = append(row.Value, old.Entry...)
	w.unindex(w.change, row, f.Name, old.slot)
}

// remove takes out a record that no value is left for, with every system's token of it.
func (w *writing) remove(f fieldValues, old record) {
	if f.Searchable {
		w.dropIndex(f, old)
	}
	w.delete(w.rows.record(w.id, f.Name, old.slot))
	w.row.Counts.Fields--
	ofSlot := append(name(f.Name), slotBytes(old.slot)...)
	for _, issued := range w.plan.issued {
		if _, of := w.rows.issuedParts(issued.Key); bytes.Equal(of, ofSlot) {
			w.delete(issued.Key)
			w.delete(w.rows.token(token.Token(issued.Value)))
			w.row.Counts.Tokens--
		}
	}
}

// name gives every value its token, adding the values that took no held slot.
func (w *writing) name(f fieldValues, h held, places []int) error {
	tokens := make([]string, len(places))
	for n, at := range places {
		var slot uint16
		var err error
		if at >= 0 {
			slot = h.records[at].slot
		} else if slot, err = w.add(f, &h, n, f.values[n]); err != nil {
			return err
		}
		t, err := w.token(f, h, slot)
		if err != nil {
			return err
		}
		tokens[n] = string(t)
	}
	w.plan.tokens[f.Name] = api.OneOrMany[string]{Items: tokens, List: f.list}
	return nil
}
