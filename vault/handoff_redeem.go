package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// RedeemHandoff gives the calling system tokens of its own of what another has handed off to it.
func (s *Service) RedeemHandoff(ctx context.Context, call Call, req *api.RedeemHandoffRequest) (*api.RedeemHandoffResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.RedeemHandoffResponse, error) { return s.redeemHandoff(ctx, call, req) })
}

func (s *Service) redeemHandoff(ctx context.Context, call Call, req *api.RedeemHandoffRequest) (*api.RedeemHandoffResponse, error) {
	r := access.Request{Action: access.RedeemHandoff}
	var err error
	if r.Behalf, err = s.behalf(ctx, req.OnBehalfOf); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var answer *api.RedeemHandoffResponse
	err = s.onceIfPossible(ctx, call, access.RedeemHandoff, func(o *once) (err error) {
		if e := o.earlier(0); e != nil {
			answer, err = s.redeemedBefore(ctx, call, r, e)
			return err
		}
		answer, err = s.redeemNow(ctx, call, r, req.Handoff, o)
		if errors.Is(err, fault.NotFound) && call.Key != "" && o.prefix == nil {
			return fault.New(fault.Unavailable, "whether this was redeemed before can't be told while the keys are out of reach")
		}
		return err
	})
	return answer, err
}

func (s *Service) redeemNow(ctx context.Context, call Call, r access.Request, text string, o *once) (*api.RedeemHandoffResponse, error) {
	var answer *api.RedeemHandoffResponse
	_, err := s.act(ctx, call, func() (deed, error) {
		t, err := s.meetHandoff(ctx, call, r, text)
		if err != nil {
			return deed{}, err
		}
		d := handoffDeed(r, t.row, t.digest, t.row.From)
		if d.request.Refusal = s.redeemable(call.rules, &d.request, t); d.request.Refusal != nil {
			return d, nil
		}
		for i, v := range t.row.Values {
			d.dues = append(d.dues, due{i, budget.Read, s.categoryOf(v.Field)})
		}
		d.effect, answer, err = s.takeOver(t, o)
		return d, err
	})
	return answer, err
}

// taking is a handoff as one snapshot showed it to the system that redeems it.
type taking struct {
	digest handoffDigest
	row    *handoffRow
	who    *person
	fields []*schema.Field
	has    map[string]map[uint16]token.Token // the redeeming system's tokens: field → slot → token
	given  []handedValue                     // what the giver still has tokens of
}

// meetHandoff reads a handoff for a caller. One that there is not, that has run out, that was redeemed and that is for
// somebody else are the same.
func (s *Service) meetHandoff(ctx context.Context, call Call, r access.Request, text string) (*taking, error) {
	nothing := fault.New(fault.NotFound, "there is no such handoff")
	raw, err := parseID(handoffPrefix, text)
	if err != nil {
		return nil, s.refuse(ctx, call, r, nothing)
	}
	digest := HandoffID(raw).digest()
	var t *taking
	var behind SubjectID // the person, whether or not the caller may know of them
	err = s.Store.View(ctx, func(rd store.Reader) (err error) {
		t, behind = nil, SubjectID{}
		row, err := seekRow[handoffRow](rd, s.rows.handoff(digest), likeHandoff)
		if err != nil || row == nil {
			return err
		}
		behind = row.Subject
		if row.To != call.Principal.System || call.Principal.VaultWide() || !s.Clock().Before(row.Until.time()) {
			return nil // another's takes no longer than none
		}
		t, err = s.taking(rd, digest, row)
		return err
	})
	if err == nil && t == nil {
		d := deed{request: r, alerts: call.rules.canaries.touched("", behind)}
		d.request.Refusal = nothing
		d.entry.Objects = []string{digest.object()} // whose it is, the entry of its making says: this one is as long for none
		err = s.refuseDeed(ctx, call, d)
	}
	return t, err
}

func (s *Service) taking(rd store.Reader, digest handoffDigest, row *handoffRow) (t *taking, err error) {
	t = &taking{digest: digest, row: row, has: map[string]map[uint16]token.Token{}}
	system := row.To
	if t.who, err = s.load(rd, t.row.Subject, system); err != nil {
		return nil, err
	}
	if t.who == nil {
		return nil, errors.New("a handoff in the store names nobody")
	}
	for _, name := range t.row.fields() {
		if t.has[name], err = s.loadIssued(rd, t.row.Subject, system, name); err != nil {
			return nil, err
		}
		if f, ok := s.Schema.Field(name); ok {
			t.fields = append(t.fields, f)
		}
	}
	t.given, err = s.handed(rd, t.row.Subject, t.row.From, t.fields)
	return t, err
}

// redeemable is what forbids that a handoff is redeemed now, or nil: all that had to stand when it was made must stand still.
func (s *Service) redeemable(now *rules, r *access.Request, t *taking) *fault.Error {
	if refusal := s.stands(now, r, t.who.row); refusal != nil {
		return refusal
	}
	p, _ := now.purposes.Get(t.row.Purpose) // it stands
	if refusal := (use{Purpose: p}).outside(t.row.fields()...); refusal != nil {
		return refusal
	}
	if refusal := handingOff(now, t.row); refusal != nil {
		return refusal
	}
	for _, v := range t.row.Values {
		if !slices.Contains(t.given, v) {
			return conflict("handoff", "the system that made it has no token of "+v.Field+" any more")
		}
	}
	if slices.ContainsFunc(t.fields, func(f *schema.Field) bool { return t.who.row.fadesSlice(f.Slice) }) {
		return errFading()
	}
	return nil
}

// takeOver drafts that the redeeming system holds the person and has tokens of what was handed off, and ends the handoff.
func (s *Service) takeOver(t *taking, o *once) (*draft, *api.RedeemHandoffResponse, error) {
	c := s.changed(t.who)
	made := t.who.holding == nil
	if made {
		s.hold(c, t.who, t.row.To)
	}
	tokens := make(map[string][]string, len(t.fields))
	for _, v := range t.row.Values {
		issued, ok := t.has[v.Field][v.Slot]
		if !ok {
			f, _ := s.Schema.Field(v.Field) // redeemable has found it
			var err error
			if issued, err = s.issue(c, t.who.holding, t.row.To, f, v.Slot); err != nil {
				return nil, nil, err
			}
		}
		tokens[v.Field] = append(tokens[v.Field], string(issued))
	}
	collected(c, t.who.holding, t.row.Purpose)
	s.setHolding(c, t.who, t.row.To)
	c.expect(s.rows.handoff(t.digest), encodeRow(t.row))
	c.delete(s.rows.handoff(t.digest))
	o.keep(&c.draft, 0, done{Subject: t.who.id, Created: made, Tokens: tokens, Purpose: t.row.Purpose})
	answer := &api.RedeemHandoffResponse{Subject: t.who.holding.Pairwise.String(), Tokens: map[string]api.OneOrMany[string]{}}
	for _, f := range t.fields {
		answer.Tokens[f.Name] = tokensWire(f, tokens[f.Name])
	}
	return s.done(c), answer, c.fits()
}

// tokensWire is a field's tokens as callers know them.
func tokensWire(f *schema.Field, tokens []string) api.OneOrMany[string] {
	return api.OneOrMany[string]{Items: tokens, List: f.Many || len(tokens) > 1} // many in an earlier schema
}

// redeemedBefore answers a retry with what the first call came to, if that stands.
func (s *Service) redeemedBefore(ctx context.Context, call Call, r access.Request, e *done) (*api.RedeemHandoffResponse, error) {
	p := &plan{item: &item{earlier: e}, call: call}
	for _, name := range sortedKeys(e.Tokens) {
		if f, ok := s.Schema.Field(name); ok {
			p.item.fields = append(p.item.fields, fieldValues{Field: f, list: tokensWire(f, e.Tokens[name]).List})
		}
	}
	_, err := s.act(ctx, call, func() (deed, error) {
		d := deed{request: r}
		d.request.Subject, d.request.Purpose, d.request.Fields = e.Subject.String(), e.Purpose, p.item.fieldNames()
		err := s.Store.View(ctx, func(rd store.Reader) (err error) {
			if p.person, err = s.load(rd, e.Subject, call.Principal.System); err != nil {
				return err
			}
			if d.request.Refusal = s.stands(call.rules, &d.request, p.person.row); d.request.Refusal != nil {
				return nil
			}
			return s.replay(rd, p)
		})
		if refusal, ok := errors.AsType[*fault.Error](err); ok {
			d.request.Refusal, err = refusal, nil
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	return &api.RedeemHandoffResponse{Subject: p.person.name(call.Principal), Tokens: p.tokens}, nil
}
