package vault

import (
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

const (
	// readChunk is how many tokens are read under one Update, which writes no more than an entry for each person.
	readChunk = 100
	// chunksAtOnce is more than one, so that a provider that hangs is not waited for once for each.
	chunksAtOnce = 4
	// breath is how many values of a large batch are opened before others have their turn.
	breath = 8
)

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
	u, err := s.useOf(call.rules, &r, p, req.Recipient)
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
		all[i] = shown{result: &resp.Results[i], at: i}
	}
	looks, err := s.lookAtAll(store.With(ctx, store.Reading), call, r, u, all)
	if err != nil {
		return nil, err
	}
	work, ctx := errgroup.WithContext(store.With(ctx, store.Reading))
	work.SetLimit(chunksAtOnce)
	for _, l := range looks {
		work.Go(func() error { return s.detokenizeChunk(ctx, call, r, u, l) })
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	return resp, nil
}

// lookAtAll looks at all tokens of a call. When they are more than one Update takes, they are charged here, all or none,
// so that the budgets have room for the whole call or nothing of it is shown.
func (s *Service) lookAtAll(ctx context.Context, call Call, r access.Request, u use, all []shown) ([]*look, error) {
	looks := make([]*look, (len(all)+readChunk-1)/readChunk)
	work, looking := errgroup.WithContext(ctx)
	work.SetLimit(chunksAtOnce)
	for n := range looks {
		some := all[n*readChunk : min((n+1)*readChunk, len(all))]
		work.Go(func() (err error) {
			open := make([]*shown, len(some))
			for i := range some {
				open[i] = &some[i]
			}
			looks[n], err = s.lookAt(looking, call, r, u, open)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	if len(looks) == 1 {
		return looks, nil
	}
	var deeds []deed
	for _, l := range looks {
		deeds = append(deeds, l.deeds...)
	}
	return looks, s.charge(ctx, call, deeds, func(int) bool { return true })
}

// shown is one token of a detokenize call on its way.
type shown struct {
	result  *api.DetokenizeResult
	at      int         // in the call
	token   token.Token // empty for what is none
	behind  SubjectID   // the person, whether or not the caller may know of them; zero for nobody
	row     *tokenRow
	who     *standing // the person, when there is somebody to the caller
	field   *schema.Field
	record  record
	refusal *fault.Error
	group   int // which deed it belongs to
}

func (sh *shown) settled() bool { return sh.result.Error != nil || sh.result.Value != nil }

// due is what the token costs: a reading when it is permitted, a search when it is nobody's to the caller.
func (sh *shown) due(permitted bool) (d due, costs bool) {
	switch {
	case permitted:
		return due{sh.at, budget.Read, string(sh.field.Category)}, true
	case sh.missed():
		return due{sh.at, budget.Search, ""}, true
	default:
		return due{}, false
	}
}

// missed reports that there is no such token for the caller.
func (sh *shown) missed() bool {
	return sh.row == nil && sh.refusal != nil && sh.refusal.Code == fault.NotFound
}

func (sh *shown) fail(err error) {
	*sh.result = api.DetokenizeResult{Token: sh.result.Token, Error: itemError(err)}
}

// detokenizeChunk shows what was looked at; what has changed since it looks at again.
func (s *Service) detokenizeChunk(ctx context.Context, call Call, r access.Request, u use, l *look) error {
	for range maxRounds {
		if err := s.showAt(ctx, call, r, l); err != nil {
			return err
		}
		open := slices.DeleteFunc(l.open, (*shown).settled)
		if len(open) == 0 {
			return nil
		}
		var err error
		if l, err = s.lookAt(ctx, call, r, u, open); err != nil {
			return err
		}
	}
	for _, sh := range l.open {
		sh.fail(errContended)
	}
	return nil
}

// look is what one snapshot shows of some tokens, and what the gate is to be asked about them.
type look struct {
	permit permit // from before the snapshot
	open   []*shown
	deeds  []deed
	large  bool // it is one of several of a call
}

func (s *Service) lookAt(ctx context.Context, call Call, r access.Request, u use, open []*shown) (*look, error) {
	l := &look{open: open, large: r.Count > readChunk}
	return l, s.bulk.do(ctx, l.large, func() error {
		l.permit = s.keyring.Permit()
		err := s.Store.View(ctx, func(rd store.Reader) error { return s.follow(rd, call, u, open) })
		if err != nil {
			return err
		}
		l.deeds = s.readingDeeds(ctx, call, r, u, open)
		return nil
	})
}

// showAt records the decisions on what was looked at, and then shows what was granted and has not changed.
func (s *Service) showAt(ctx context.Context, call Call, r access.Request, l *look) error {
	open := l.open
	var outcomes []outcome
	err := s.bulk.do(ctx, l.large, func() (err error) {
		outcomes, err = s.perform(ctx, call, l.deeds...)
		return err
	})
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
	keys, err := s.disclose(ctx, l.permit, access.Detokenize, things)
	if err != nil {
		return err
	}
	defer keys.Close()
	return s.bulk.do(ctx, l.large, func() error {
		for i, sh := range open {
			if l.large && i%breath == 0 {
				runtime.Gosched() // others may wait for a processor
			}
			o := outcomes[sh.group]
			if o.stale || o.err != nil {
				continue
			}
			s.fill(sh, keys, r.Form, api.Form(o.grant.Form()), call.Principal)
		}
		return nil
	})
}

// readingDeeds makes one deed for each person and verdict: of state, purpose and basis, and, where these allow the reading,
// of the policies about the field, so that what they refuse takes nothing else with it.
func (s *Service) readingDeeds(ctx context.Context, call Call, r access.Request, u use, open []*shown) []deed {
	type verdict struct {
		subject SubjectID
		code    fault.Code
		allowed bool
		form    access.Form
	}
	type question struct {
		field, basis string
		emergency    bool
	}
	var deeds []deed
	groups := make(map[verdict]int, len(open))
	answers := make(map[question]access.Decision)
	for _, sh := range open {
		g := verdict{}
		d := s.readingDeed(r, sh)
		if sh.row != nil {
			g.subject = sh.row.Subject
		}
		switch {
		case sh.refusal != nil:
			g.code = sh.refusal.Code
		case r.Count == 1:
			g.allowed = true // what the gate says takes nothing else with it; it decides who pays, too
		default:
			of := s.asks(call, d.request)
			q := question{sh.field.Name, sh.who.basis, of.BreakGlass}
			answer, asked := answers[q]
			if !asked {
				of.Fields = []string{sh.field.Name}
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
		group.alerts = distinct(append(group.alerts, call.rules.canaries.touched(sh.token, sh.behind)...))
		if cost, costs := sh.due(g.allowed); costs {
			group.dues = append(group.dues, cost)
		}
		if sh.field != nil && !slices.Contains(group.request.Fields, sh.field.Name) {
			group.request.Fields = append(group.request.Fields, sh.field.Name)
		}
	}
	for g, at := range groups {
		s.disclosing(call, &deeds[at], g.subject, u.to, deeds[at].request.Fields)
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
