package vault

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// readChunk is how many tokens are read under one Update, which writes no more than an entry for each person.
const readChunk = 100

// Detokenize turns tokens back into values. Tokens stand alone.
func (s *Service) Detokenize(ctx context.Context, call Call, req *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.DetokenizeResponse, error) { return s.detokenize(ctx, call, req) })
}

func (s *Service) detokenize(ctx context.Context, call Call, req *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	form, err := formOf(req.Form)
	if err != nil {
		return nil, err
	}
	r, p, err := s.reading(ctx, call, access.Detokenize, req.Purpose, req.Reason, form, req.OnBehalfOf)
	if err != nil {
		return nil, err
	}
	r.Count = len(req.Tokens)
	if err := checkItems("tokens", len(req.Tokens)); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	resp := &api.DetokenizeResponse{Results: make([]api.DetokenizeResult, len(req.Tokens))}
	all := make([]shown, len(req.Tokens))
	for i, t := range req.Tokens {
		resp.Results[i].Token = t
		all[i] = shown{result: &resp.Results[i]}
	}
	ctx = store.With(ctx, store.Reading)
	if len(all) <= readChunk {
		return resp, s.detokenizeChunk(ctx, call, r, p, all)
	}
	// A few chunks at a time, so that a provider that hangs is waited for once and not once for each.
	const atOnce = 4
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	for some := range slices.Chunk(all, readChunk) {
		work.Go(func() error { return s.detokenizeChunk(ctx, call, r, p, some) })
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return resp, nil
}

// shown is one token of a detokenize call on its way.
type shown struct {
	result  *api.DetokenizeResult
	row     *tokenRow
	who     *standing // the person, when there is somebody to the caller
	field   *schema.Field
	record  record
	refusal *fault.Error
	group   int // which deed it belongs to
}

func (sh *shown) settled() bool { return sh.result.Error != nil || sh.result.Value != nil }

func (sh *shown) fail(err error) {
	*sh.result = api.DetokenizeResult{Token: sh.result.Token, Error: itemError(err)}
}

func (s *Service) detokenizeChunk(ctx context.Context, call Call, r access.Request, p *purpose.Purpose, all []shown) error {
	open := make([]*shown, len(all))
	for i := range all {
		open[i] = &all[i]
	}
	for range maxRounds {
		if err := s.detokenizeRound(ctx, call, r, p, open); err != nil {
			return err
		}
		if open = slices.DeleteFunc(open, (*shown).settled); len(open) == 0 {
			return nil
		}
	}
	for _, sh := range open {
		sh.fail(errContended)
	}
	return nil
}

// detokenizeRound decides on one snapshot, records the decisions, and then shows what was granted and has not changed.
func (s *Service) detokenizeRound(ctx context.Context, call Call, r access.Request, p *purpose.Purpose, open []*shown) error {
	permit := s.keyring.Permit()
	err := s.Store.View(ctx, func(rd store.Reader) error { return s.follow(rd, call, p, open) })
	if err != nil {
		return err
	}
	deeds := s.readingDeeds(ctx, call, r, open)
	outcomes, err := s.perform(ctx, call, deeds...)
	if err != nil {
		return err
	}
	things := make([]wanted, 0, len(open))
	for _, sh := range open {
		switch o := outcomes[sh.group]; {
		case o.stale:
		case sh.refusal != nil:
			sh.fail(sh.refusal)
		case o.err != nil:
			sh.fail(o.err)
		default:
			things = append(things, wanted{o.grant, sh.row.Subject, sh.record.Key})
		}
	}
	keys, err := s.disclose(ctx, permit, access.Detokenize, things)
	if err != nil {
		return err
	}
	defer keys.Close()
	for _, sh := range open {
		o := outcomes[sh.group]
		if o.stale || o.err != nil {
			continue
		}
		s.fill(sh, keys, r.Form, api.Form(o.grant.Form()), call.Principal)
	}
	return nil
}

// readingDeeds makes one deed for each person and verdict: of state, purpose and basis, and, where these allow the reading,
// of the policies about the field, so that what they refuse takes nothing else with it.
func (s *Service) readingDeeds(ctx context.Context, call Call, r access.Request, open []*shown) []deed {
	type verdict struct {
		subject SubjectID
		code    fault.Code
		allowed bool
		form    access.Form
	}
	type question struct{ field, basis string }
	var deeds []deed
	groups := make(map[verdict]int, len(open))
	answers := make(map[question]access.Decision)
	for _, sh := range open {
		g := verdict{}
		d := s.readingDeed(r, sh)
		if sh.row != nil {
			g.subject = sh.row.Subject
		}
		if sh.refusal != nil {
			g.code = sh.refusal.Code
		} else {
			q := question{sh.field.Name, sh.who.basis}
			answer, asked := answers[q]
			if !asked {
				of := d.request
				of.Principal, of.Fields = call.Principal, []string{sh.field.Name}
				answer = call.rules.gate.Decide(ctx, of)
				answers[q] = answer
			}
			g.allowed, g.form = answer.Allowed(), answer.Form
		}
		at, ok := groups[g]
		if !ok {
			at = len(deeds)
			groups[g] = at
			deeds = append(deeds, d)
		}
		sh.group = at
		group := &deeds[at]
		group.entry.Items++
		if sh.field != nil && !slices.Contains(group.request.Fields, sh.field.Name) {
			group.request.Fields = append(group.request.Fields, sh.field.Name)
		}
	}
	return deeds
}

func (s *Service) readingDeed(r access.Request, sh *shown) deed {
	d := deed{request: r}
	d.request.Refusal = sh.refusal
	if sh.row != nil {
		d.request.Subject = sh.row.Subject.String()
	}
	if sh.who != nil {
		d.request.State, d.request.Basis, d.request.Consent = string(sh.who.wire()), sh.who.basis, sh.who.consent
	}
	if sh.refusal == nil {
		d.effect = &draft{}
		d.effect.expectPrefix(s.rows.subject(sh.row.Subject), sh.who.status.encode())
	}
	return d
}

// fill gives a token its value.
func (s *Service) fill(sh *shown, keys *disclosed, asked access.Form, form api.Form, caller access.Principal) {
	v, err := s.show(keys, reading{sh.row.Subject, sh.field, sh.record, form})
	if err != nil {
		sh.fail(err)
		return
	}
	sh.result.Field, sh.result.Value = sh.row.Field, &v
	sh.result.Subject = sh.row.Pairwise.String()
	if caller.VaultWide() {
		sh.result.Subject = sh.row.Subject.String()
	}
	if asked == access.Allowed {
		sh.result.Form = form
	}
}
