package vault

import (
	"errors"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// find tells whose values an item has. What forbids going on is kept in the plan.
func (s *Service) find(r store.Reader, p *plan) error {
	err := s.identify(r, p)
	if refusal, ok := errors.AsType[*fault.Error](err); ok {
		p.refusal = refusal
		if p.person == nil {
			p.person = &person{}
		}
		return nil
	}
	return err
}

func (s *Service) identify(r store.Reader, p *plan) error {
	var err error
	if e := p.item.earlier; e != nil {
		if p.person, err = s.load(r, e.Subject, p.call.Principal.System); err != nil {
			return err
		}
		if p.person == nil {
			return errNobody()
		}
		if refusal := p.person.row.refusal(); refusal != nil {
			return refusal
		}
		if err := s.restOn(p, p.person.row.bases); err != nil {
			return err
		}
		return s.replay(r, p)
	}
	if text := p.item.request.Subject; text != "" {
		if p.person, err = s.resolve(r, p.call.Principal, text); err != nil {
			var lost error
			if p.alerts, lost = s.named(r, &p.call.rules.canaries, text); lost != nil {
				return lost
			}
			return err
		}
	}
	if err = s.provide(r, p); err != nil {
		return err
	}
	finders := p.item.finders()
	rows, err := s.owners(r, finders)
	if err != nil {
		return err
	}
	for i, l := range finders {
		if rows[i] == nil {
			continue
		}
		owner, _ := ownerOf(rows[i])
		if l != p.item.ref {
			p.met = l.field
		}
		p.alerts = append(p.alerts, p.call.rules.canaries.person(owner.String())...)
		switch {
		case p.person == nil:
			if p.person, err = s.load(r, owner, p.call.Principal.System); err != nil {
				return err
			}
		case p.person.id != owner:
			return &fault.Error{
				Code: fault.Conflict, Detail: "this is another person's",
				Fields: []fault.Field{{Field: wireName(l.field), Rule: "belongs to another person"}},
			}
		}
	}
	if p.person == nil {
		p.person = s.stranger()
		if p.item.as != (SubjectID{}) {
			p.person.id = p.item.as
		}
		return s.rest(r, p)
	}
	if p.item.as != (SubjectID{}) {
		return fault.New(fault.Conflict, "this is somebody's already")
	}
	if refusal := p.person.row.refusal(); refusal != nil {
		return refusal
	}
	if err := s.rest(r, p); err != nil {
		return err
	}
	return s.loadHeld(r, p)
}

// replay answers an item as the first try under its idempotency key did, from what that try left: it is not done again.
func (s *Service) replay(r store.Reader, p *plan) (err error) {
	e := p.item.earlier
	p.answer()
	p.replayed, p.created, p.differs = true, e.Created, e.Differs
	for _, f := range p.item.fields {
		tokens, answered := e.Tokens[f.Name]
		if !answered {
			continue
		}
		issued, err := s.loadIssued(r, p.person.id, p.call.Principal.System, f.Name)
		if err != nil {
			return err
		}
		still := slices.Collect(maps.Values(issued))
		for _, t := range tokens {
			if !slices.Contains(still, token.Token(t)) {
				return conflict(f.Name, "a token that the first call answered is retired")
			}
		}
		p.tokens[f.Name] = api.OneOrMany[string]{Items: tokens, List: f.list}
	}
	if p.item.consent != nil {
		return s.recall(r, p)
	}
	return nil
}

// loadHeld reads what is already held in the fields that the item names.
func (s *Service) loadHeld(r store.Reader, p *plan) (err error) {
	for i := range p.item.fields {
		f := &p.item.fields[i]
		h := held{}
		if h.records, err = s.loadRecords(r, p.person.id, f.Name); err != nil {
			return err
		}
		if h.tokens, err = s.loadIssued(r, p.person.id, p.call.Principal.System, f.Name); err != nil {
			return err
		}
		if h.indexed, err = s.loadIndexed(r, p.person.id, f.Name); err != nil {
			return err
		}
		p.held = append(p.held, h)
	}
	if ref := p.item.ref; ref != nil {
		p.refEntered, err = s.loadIndexed(r, p.person.id, ref.field)
	}
	return err
}
