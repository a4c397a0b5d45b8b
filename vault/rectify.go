package vault

import (
	"bytes"
	"context"
	"errors"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// Rectify replaces values on evidence. Tokens stay: a corrected value goes by the token of the one it corrects. It is
// allowed while the person is blocked.
func (s *Service) Rectify(ctx context.Context, call Call, subject string, req *api.RectifyRequest) (*api.RectifyResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.RectifyResponse, error) { return s.rectify(ctx, call, subject, req) })
}

func (s *Service) rectify(ctx context.Context, call Call, subject string, req *api.RectifyRequest) (*api.RectifyResponse, error) {
	r := access.Request{Action: access.Rectify, Purpose: req.Purpose}
	it, err := s.rectification(ctx, &r, call, req)
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
		for round := range maxRounds {
			if round == 1 {
				defer s.index.losers.enter()()
			}
			p, stale, err := s.rectifyRound(ctx, call, r, subject, it, req.Evidence)
			if errors.Is(err, errEpoch) {
				if err := s.index.again(ctx, it.lookups...); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return err
			}
			if !stale {
				resp.Subject, resp.Tokens, resp.Warnings = p.person.name(call.Principal), p.tokens, it.warnings()
				return nil
			}
			if round == 0 {
				end, err := s.turns.take(ctx, p.person.id.String())
				if err != nil {
					return err
				}
				defer end()
			}
		}
		return errContended
	})
}

// rectification checks the request and normalises its values.
func (s *Service) rectification(ctx context.Context, r *access.Request, call Call, req *api.RectifyRequest) (*item, error) {
	p, err := s.purposeNamed(ctx, call, access.Rectify, req.Purpose)
	if err != nil {
		return nil, err
	}
	if r.Behalf, err = s.behalf(ctx, req.OnBehalfOf); err != nil {
		return nil, err
	}
	if err := checkOneOf("evidence.kind", req.Evidence.Kind, "document", "application", "self_service"); err != nil {
		return nil, err
	}
	if n := len(req.Evidence.Ref); n == 0 || n > 200 {
		return nil, fault.Bad("evidence.ref", "1 to 200 bytes")
	}
	it := s.prepare(&api.TokenizeItem{Fields: req.Fields}, &api.TokenizeResult{}, call, p, &once{}, 0)
	it.identity = true // what it rests on is sealed
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
		p.person, p.held, p.refusal, p.adds, p.alerts = who, nil, nil, nil, nil
		if who.row.state != stateActive {
			p.refusal = fault.New(fault.Erased, "this person is erased")
			return nil
		}
		if it.earlier != nil {
			return s.replayRectify(rd, p)
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
	d := deed{request: r, alerts: p.alerts}
	d.request.Subject, d.entry.Items, d.entry.Kind = p.person.id.String(), it.count(), evidence.Kind
	d.request.Basis, d.request.Consent = p.footing.basis, p.footing.consent
	if p.refusal == nil && !p.replayed {
		if d.effect, d.entry.Note, err = s.rectifying(p, keys, evidence); err != nil {
			p.refusal = fault.From(edge(err))
		}
	}
	d.request.Refusal = p.refusal
	if field := p.learnt(); field != "" {
		d.dues = []due{{it.at, budget.Search, s.categoryOf(field)}}
	}
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

// replayRectify answers a retry, which must be about the same person. A correction is not made again: there may have been
// another since.
func (s *Service) replayRectify(r store.Reader, p *plan) error {
	if p.item.earlier.Subject != p.person.id {
		p.refusal = errAnotherCall()
		return nil
	}
	err := s.replay(r, p)
	if refusal, ok := errors.AsType[*fault.Error](err); ok {
		p.refusal = refusal
		return nil
	}
	return err
}

// rectifiable reads what is to be replaced, and finds out whether a unique value is somebody else's.
func (s *Service) rectifiable(r store.Reader, p *plan) error {
	if err := s.index.stands(r, p.item.lookups...); err != nil {
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
		if who, _ := ownerOf(rows[i]); who != p.person.id {
			p.refusal = conflict(l.field, "belongs to another person")
			p.alerts = p.call.rules.canaries.person(who.String())
			return nil
		}
	}
	if err := s.restOn(p, p.person.row.bases); err != nil {
		refusal, ok := errors.AsType[*fault.Error](err)
		if !ok {
			return err
		}
		p.adds = refusal // a correction needs no basis
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
	p.answer()
	for i := range p.item.fields {
		if err := w.correct(i); err != nil {
			return nil, nil, err
		}
	}
	if p.person.holding != nil { // staff who correct do not become holders
		collected(w.change, p.person.holding, p.item.purpose)
		s.setHolding(w.change, p.person, p.call.Principal.System)
	}
	p.item.once.keep(&w.draft, 0, done{Subject: w.id, Tokens: p.texts()})
	_, key, err := keys.key(p, schema.IdentitySlice)
	if err != nil {
		return nil, nil, err
	}
	note, err := envelope.Seal(key, s.context(sealedNote, w.id, "", 1), []byte(evidence.Ref))
	if err != nil {
		return nil, nil, err
	}
	return s.done(w.change), note, w.fits()
}
