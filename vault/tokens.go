package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// DescribeTokens tells what tokens stand for, never a value.
func (s *Service) DescribeTokens(ctx context.Context, call Call, req *api.TokensRequest) (*api.DescribeResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.DescribeResponse, error) { return s.describeTokens(ctx, call, req) })
}

func (s *Service) describeTokens(ctx context.Context, call Call, req *api.TokensRequest) (*api.DescribeResponse, error) {
	resp := &api.DescribeResponse{}
	err := s.eachToken(ctx, call, access.DescribeTokens, req, func(found []*tokenAt) error {
		for _, t := range found {
			d := api.TokenDescription{Token: t.text}
			if t.refusal != nil {
				d.Error = itemError(t.refusal)
			} else {
				d.Kind, d.Field = "field", t.row.Field
				if t.row.Field == documentsField {
					d.Kind, d.Field = "document", ""
				}
				d.Subject, d.State = t.person.name(call.Principal), string(t.person.row.wire())
			}
			resp.Results = append(resp.Results, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// RevokeTokens retires tokens of the calling system without touching the data. A token that is not there is retired
// already: asking again answers the same.
func (s *Service) RevokeTokens(ctx context.Context, call Call, req *api.TokensRequest) (*api.RevokeResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.RevokeResponse, error) { return s.revokeTokens(ctx, call, req) })
}

func (s *Service) revokeTokens(ctx context.Context, call Call, req *api.TokensRequest) (*api.RevokeResponse, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	resp := &api.RevokeResponse{}
	err := s.once(ctx, call, access.RevokeTokens, func(o *once) error {
		at := 0
		return s.eachToken(ctx, call, access.RevokeTokens, req, func(found []*tokenAt) error {
			for _, t := range found {
				result, err := s.revoke(ctx, call, o, at, t)
				if err != nil {
					return err
				}
				resp.Results = append(resp.Results, result)
				at++
			}
			return nil
		})
	})
	return resp, err
}

// tokenAt is a token as one snapshot showed it.
type tokenAt struct {
	text    string
	at      int         // in the call
	token   token.Token // empty for what is none
	behind  SubjectID   // the person, whether or not the caller may know of them; zero for nobody
	row     *tokenRow
	person  *person
	refusal *fault.Error
	system  string // whose token it is; empty when it is none to the caller
	revoked bool   // by the caller's system, before
}

// eachToken finds what the tokens stand for, in chunks when they are to be changed, and records that it was asked.
func (s *Service) eachToken(ctx context.Context, call Call, a access.Action, req *api.TokensRequest, f func([]*tokenAt) error) error {
	if err := checkItems("tokens", len(req.Tokens)); err != nil {
		return err
	}
	r := access.Request{Action: a}
	if err := s.admit(ctx, call, r); err != nil {
		return err
	}
	asked, atOnce := 0, chunk
	if a == access.DescribeTokens {
		atOnce = len(req.Tokens) // it is charged, and told, whole or not at all
	}
	for some := range slices.Chunk(req.Tokens, atOnce) {
		found := make([]*tokenAt, len(some))
		err := s.Store.View(ctx, func(rd store.Reader) (err error) {
			for i, text := range some {
				if found[i], err = s.tokenAt(rd, call.Principal, text); err != nil {
					return err
				}
				found[i].at = asked + i
			}
			return nil
		})
		if err != nil {
			return err
		}
		asked += len(some)
		if a == access.DescribeTokens {
			if err := s.recordTokens(ctx, call, r, found); err != nil {
				return err
			}
		}
		if err := f(found); err != nil {
			return err
		}
	}
	return nil
}

// missed reports that there is no such token for the caller.
func (t *tokenAt) missed() bool {
	return t.row == nil && t.refusal != nil && t.refusal.Code == fault.NotFound
}

func (s *Service) tokenAt(r store.Reader, caller access.Principal, text string) (*tokenAt, error) {
	found := &tokenAt{text: text}
	t, _, err := token.Parse(text)
	if err != nil {
		found.refusal = mistyped()
		return found, nil
	}
	found.token = t
	row, err := seekRow[tokenRow](r, s.rows.token(t), likeToken)
	if row != nil {
		found.behind = row.Subject
	}
	switch {
	case err != nil:
		return nil, err
	case row == nil || !caller.Reads(row.System):
		found.refusal = errNoToken()
		return found, nil
	case row.Revoked:
		found.refusal, found.revoked = errNoToken(), row.System == caller.System
		return found, nil
	case row.Erased:
		found.system, found.refusal = row.System, errSliceErased()
		return found, nil
	}
	found.row, found.system = row, row.System
	found.person, err = s.load(r, row.Subject, row.System)
	switch {
	case err != nil:
		return nil, err
	case found.person == nil:
		return nil, errors.New("a token in the store names nobody")
	case found.person.row.state != stateActive:
		found.refusal = fault.New(fault.Erased, "this person is erased")
	}
	return found, nil
}

// recordTokens writes an entry for each person whose tokens were asked about.
func (s *Service) recordTokens(ctx context.Context, call Call, r access.Request, found []*tokenAt) error {
	var deeds []deed
	at := map[SubjectID]int{}
	for _, t := range found {
		d := deed{request: r}
		d.request.Refusal = t.refusal
		var id SubjectID
		if t.row != nil {
			id = t.row.Subject
			d.request.Subject = id.String()
		}
		i, ok := at[id]
		if !ok {
			i = len(deeds)
			at[id] = i
			deeds = append(deeds, d)
		}
		deeds[i].entry.Items++
		deeds[i].alerts = distinct(append(deeds[i].alerts, call.rules.canaries.touched(t.token, t.behind)...))
		if r.Action == access.DescribeTokens && t.missed() {
			deeds[i].dues = append(deeds[i].dues, due{t.at, budget.Search, ""})
		}
	}
	_, err := s.perform(ctx, call, deeds...)
	return err
}

// revoke retires one token. A vault-wide role may see other systems' tokens and retires only its own.
func (s *Service) revoke(ctx context.Context, call Call, o *once, at int, t *tokenAt) (api.RevokeResult, error) {
	result := api.RevokeResult{Token: t.text, Revoked: true}
	if o.earlier(at) != nil || t.revoked {
		return result, s.recordTokens(ctx, call, access.Request{Action: access.RevokeTokens}, []*tokenAt{t})
	}
	for round := range maxRounds {
		if t.revoked {
			return result, nil
		}
		if t.system != "" && t.system != call.Principal.System {
			t.refusal = errNoToken()
		}
		if t.refusal != nil {
			err := s.refuseDeed(ctx, call, deed{
				request: access.Request{Action: access.RevokeTokens, Refusal: t.refusal},
				alerts:  call.rules.canaries.touched(t.token, t.behind),
			})
			return api.RevokeResult{Token: t.text, Error: itemError(err)}, nil
		}
		outcomes, err := s.perform(ctx, call, s.revokeDeed(call, o, at, t))
		if err != nil {
			return result, err
		}
		if !outcomes[0].stale {
			if err := outcomes[0].err; err != nil {
				return api.RevokeResult{Token: t.text, Error: itemError(err)}, nil
			}
			return result, nil
		}
		if round == 0 {
			end, err := s.turns.take(ctx, t.person.id.String())
			if err != nil {
				return result, err
			}
			defer end()
		}
		err = s.Store.View(ctx, func(rd store.Reader) error {
			t, err = s.tokenAt(rd, call.Principal, t.text)
			return err
		})
		if err != nil {
			return result, err
		}
	}
	return api.RevokeResult{Token: t.text, Error: itemError(errContended)}, nil
}

func (s *Service) revokeDeed(call Call, o *once, at int, t *tokenAt) deed {
	c := s.changed(t.person)
	issued := s.rows.issued(t.row.Subject, t.row.System, t.row.Field, t.row.Slot)
	if t.row.Field == documentsField {
		issued = s.rows.issuedDocument(t.row.Subject, t.row.System, t.row.Document)
	}
	s.retire(c, token.Token(t.text), t.row.System, issued)
	o.keep(&c.draft, at, done{Subject: t.row.Subject})
	d := deed{request: access.Request{Action: access.RevokeTokens, Subject: t.row.Subject.String()}, effect: s.done(c)}
	d.entry.Items, d.alerts = 1, call.rules.canaries.touched(t.token, t.behind)
	return d
}
