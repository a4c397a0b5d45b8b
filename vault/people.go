package vault

import (
	"bytes"
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// CreateSubject registers a person without fields, or finds the one whom the system already knows by external_ref.
func (s *Service) CreateSubject(ctx context.Context, call Call, req *api.CreateSubjectRequest) (*api.Subject, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Subject, error) { return s.createSubject(ctx, call, req) })
}

func (s *Service) createSubject(ctx context.Context, call Call, req *api.CreateSubjectRequest) (*api.Subject, error) {
	p, err := s.purposeNamed(ctx, call, access.CreateSubject, req.Purpose)
	if err != nil {
		return nil, err
	}
	r := access.Request{Action: access.CreateSubject, Purpose: p.Name}
	it := &item{
		request: &api.TokenizeItem{ExternalRef: req.ExternalRef}, result: &api.TokenizeResult{}, purpose: p.Name,
	}
	if bad := it.checkRef(call); bad != nil {
		return nil, &fault.Error{Code: fault.Invalid, Detail: "the request breaks a rule", Fields: bad}
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
	var made *api.Subject
	err = s.once(ctx, call, access.CreateSubject, func(o *once) error {
		it.once, it.earlier = o, o.earlier(0)
		if err := s.tokenizeChunk(ctx, call, r, []*item{it}); err != nil {
			return err
		}
		if e := it.result.Error; e != nil {
			return &fault.Error{Code: e.Code, Detail: e.Detail, Fields: e.Errors}
		}
		made = &api.Subject{Subject: it.result.Subject, State: api.StateActive, Created: it.result.Created}
		return nil
	})
	return made, err
}

// Subject shows what is held of a person: fields, documents, tokens of the calling system; no values.
func (s *Service) Subject(ctx context.Context, call Call, subject string) (*api.Subject, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Subject, error) { return s.subject(ctx, call, subject) })
}

func (s *Service) subject(ctx context.Context, call Call, subject string) (*api.Subject, error) {
	r := access.Request{Action: access.ShowSubject}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	var who *person
	_, err := s.act(ctx, call, func() (d deed, err error) {
		if who, err = s.meet(ctx, call, r, subject, nil); err != nil {
			return d, err
		}
		d = deed{request: r}
		d.request.Subject = who.id.String()
		if call.Principal.VaultWide() {
			d.dues = []due{{0, budget.Read, personCategory}}
		}
		if who.row.state != stateActive {
			d.request.Refusal = fault.New(fault.Erased, "this person is erased")
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return s.view(ctx, call, who.id)
}

// view is a person as the caller sees them now. A system sees since when and for what it holds the person itself; of a
// block that another placed it sees the kind.
func (s *Service) view(ctx context.Context, call Call, id SubjectID) (*api.Subject, error) {
	var out *api.Subject
	caller := call.Principal
	err := s.Store.View(ctx, func(r store.Reader) error {
		p, err := s.load(r, id, caller.System)
		switch {
		case err != nil:
			return err
		case p == nil || p.row.state != stateActive || p.holding == nil && !caller.VaultWide():
			return fault.New(fault.Erased, "this person is erased")
		}
		out = &api.Subject{Subject: p.name(caller), State: p.row.wire()}
		if caller.VaultWide() {
			out.CreatedAt, out.Purposes = p.row.Created.time(), p.row.Purposes
		} else {
			out.CreatedAt, out.Purposes = p.holding.Since.time(), p.holding.Purposes
		}
		if p.row.Erasure != (ErasureID{}) {
			out.Erasure = p.row.Erasure.String()
		}
		for _, b := range p.row.Blocks {
			shown := api.Block{Kind: b.Kind, Since: b.Since.time()}
			if b.System == caller.System || caller.VaultWide() {
				shown.Reason = b.Reason
			}
			out.Blocks = append(out.Blocks, shown)
		}
		if out.Fields, err = s.heldFields(r, id, call.Principal); err != nil {
			return err
		}
		if out.Tokens, err = s.tokensOf(r, id, call.Principal.System); err != nil {
			return err
		}
		if out.Documents, err = s.heldDocuments(r, id, call.Principal); err != nil {
			return err
		}
		out.Consents, err = s.heldConsents(r, id, call.Principal)
		return err
	})
	return out, err
}

// heldConsents lists the consents that the caller may know of.
func (s *Service) heldConsents(r store.Reader, id SubjectID, caller access.Principal) (all []api.HeldConsent, err error) {
	err = s.eachConsent(r, id, func(c ConsentID, row *consentRow) error {
		if caller.VaultWide() || row.System == caller.System {
			all = append(all, api.HeldConsent{
				Consent: c.String(), State: row.state(stampOf(s.Clock())), Purposes: row.Purposes, GivenAt: row.Given.time(),
				ExpiresAt: row.Expires.time(),
			})
		}
		return nil
	})
	return all, err
}

// heldFields counts the values in each field: for an application, those it has tokens of.
func (s *Service) heldFields(r store.Reader, id SubjectID, caller access.Principal) (map[string]api.HeldField, error) {
	fields := map[string]api.HeldField{}
	may, any, err := s.readable(r, caller, id)
	if err != nil {
		return nil, err
	}
	prefix := s.rows.records(id, "")
	return fields, scanAll(r, prefix, func(p store.Pair) error {
		rest := p.Key[len(prefix):]
		if !any && !may[string(rest)] {
			return nil
		}
		row, err := decodeRow[recordRow](p.Value)
		if err != nil {
			return err
		}
		field, _, _ := bytes.Cut(rest, []byte{0})
		h := fields[string(field)]
		h.Values++
		if at := row.Updated.time(); at.After(h.UpdatedAt) {
			h.UpdatedAt = at
		}
		fields[string(field)] = h
		return nil
	})
}
