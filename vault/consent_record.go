package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// RecordConsent records a consent of a person, and with it the proof that outlives them. The receipt that finds the proof is
// in this answer and nowhere else.
func (s *Service) RecordConsent(ctx context.Context, call Call, subject string, req *api.ConsentRequest) (*api.Consent, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Consent, error) { return s.recordConsent(ctx, call, subject, req) })
}

func (s *Service) recordConsent(ctx context.Context, call Call, subject string, req *api.ConsentRequest) (*api.Consent, error) {
	r := access.Request{Action: access.RecordConsent}
	given, bad := s.givenConsent(call, req)
	if bad != nil {
		return nil, &fault.Error{Code: fault.Invalid, Detail: "the consent breaks a rule", Fields: bad}
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	it := &item{request: &api.TokenizeItem{}, result: &api.TokenizeResult{}, consent: given, identity: given.sealed()}
	var made *api.Consent
	err := s.once(ctx, call, r.Action, func(o *once) error {
		it.once, it.earlier = o, o.earlier(0)
		for round := range maxRounds {
			p, stale, err := s.recordRound(ctx, call, r, subject, it)
			if err != nil {
				return err
			}
			if !stale {
				made = s.receipt(p)
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
	return made, err
}

// recordRound reads the person, seals what the consent brings, and commits it if they are still as they were.
func (s *Service) recordRound(ctx context.Context, call Call, r access.Request, subject string, it *item) (*plan, bool, error) {
	permit := s.keyring.Permit()
	p := &plan{item: it, call: call}
	_, err := s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) error {
		p.person = who
		if refusal := who.row.refusal(); refusal != nil {
			return refusal
		}
		if it.earlier == nil {
			return s.bring(rd, p)
		}
		if it.earlier.Subject != who.id {
			return errAnotherCall()
		}
		p.replayed = true
		return s.recall(rd, p)
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
	d.request.Subject, d.request.State = p.person.id.String(), string(p.person.row.wire())
	d.request.Consent, d.entry.Kind = named(p.consent.id, p.consent.row.Version), p.consent.row.Text
	if p.refusal == nil && !p.replayed {
		if d.effect, err = s.recording(p, keys); err != nil {
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

// recall finds the consent that an earlier try under the same idempotency key recorded.
func (s *Service) recall(r store.Reader, p *plan) error {
	c := ConsentID(p.item.earlier.Object)
	row, err := getRow[consentRow](r, s.rows.consent(p.person.id, c))
	switch {
	case err != nil:
		return err
	case row == nil:
		return errAnotherCall()
	}
	p.consent = &newConsent{id: c, row: row}
	return nil
}

// recording drafts a consent by itself.
func (s *Service) recording(p *plan, keys *writingKeys) (*draft, error) {
	w := &writing{s, s.changed(p.person), p, keys, stampOf(s.Clock())}
	w.adoptKeys()
	if err := w.consent(); err != nil {
		return nil, err
	}
	p.item.once.keep(&w.draft, 0, done{Subject: p.person.id, Object: p.consent.id})
	return s.done(w.change), w.fits()
}

// consent records the consent that the plan brings: its row, its proof, and what the person's data rests on from now on.
func (w *writing) consent() error {
	c := w.plan.consent
	if c == nil {
		return nil
	}
	if w.plan.item.consent.sealed() {
		keyID, key, err := w.keys.key(w.plan, schema.IdentitySlice)
		if err != nil {
			return err
		}
		plain := encodeRow(w.plan.item.consent.evidence)
		defer clear(plain)
		c.row.Key = keyID
		if c.row.Evidence, err = envelope.Seal(key, w.context(sealedEvidence, w.id, c.id.String(), 1), plain); err != nil {
			return err
		}
	}
	w.set(w.rows.consent(w.id, c.id), encodeRow(c.row))
	w.row.bases = c.bases
	w.row.Counts.Consents++
	w.decided()
	keyID, key, err := w.keys.proofKey(w.plan)
	if err != nil {
		return err
	}
	w.consumeKey(&w.draft, keyID)
	return w.prove(&w.draft, keyID, key, c.row)
}

// receipt is the answer of the call that recorded a consent.
func (s *Service) receipt(p *plan) *api.Consent {
	if p.consent == nil {
		return nil
	}
	made := s.consentWire(p.call.rules, p.consent.id, p.consent.row)
	made.Receipt = p.consent.row.Receipt.String()
	return made
}

// recordedWith has a draft say in the log that an item brought a consent, beside what the item's own entry says.
func (s *Service) recordedWith(d *draft, call Call, r access.Request, by access.Decision, p *plan) error {
	return s.log(d, &audit.Entry{
		RequestID: call.RequestID, System: call.Principal.System, Credential: call.Principal.Credential,
		Role: call.Principal.RoleNames(), OnBehalfOf: r.Behalf.Actor, Verified: r.Behalf.Verified,
		Operation: string(access.RecordConsent), Subject: p.person.id.String(), Purpose: r.Purpose,
		Consent: named(p.consent.id, p.consent.row.Version), Kind: p.consent.row.Text, Decision: audit.Allow, Policies: by.Policies,
	})
}
