package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/store"
)

// chunk is how many items of a batch go into one Update, so that a large batch does not keep the others waiting.
const chunk = 50

// Tokenize takes in people's values and answers with the calling system's tokens. Items stand alone and are all or
// nothing.
func (s *Service) Tokenize(ctx context.Context, call Call, req *api.TokenizeRequest) (*api.TokenizeResponse, error) {
	results := make([]api.TokenizeResult, len(req.Items))
	return underRules(ctx, s, call, func(call Call) (*api.TokenizeResponse, error) { return s.tokenize(ctx, call, req, results) })
}

// tokenize fills in results. What an item has come to already, in an attempt that a change of the rules ended, is done.
func (s *Service) tokenize(ctx context.Context, call Call, req *api.TokenizeRequest, results []api.TokenizeResult) (*api.TokenizeResponse, error) {
	p, err := s.purposeNamed(ctx, call, access.Tokenize, req.Purpose)
	if err != nil {
		return nil, err
	}
	if err := checkItems("items", len(req.Items)); err != nil {
		return nil, err
	}
	r := access.Request{Action: access.Tokenize, Purpose: p.Name}
	if r.Behalf, err = s.behalf(ctx, req.OnBehalfOf); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	return &api.TokenizeResponse{Results: results}, s.once(ctx, call, access.Tokenize, func(o *once) error {
		var items []*item
		for i := range req.Items {
			if results[i].Subject == "" {
				results[i] = api.TokenizeResult{}
				items = append(items, s.prepare(&req.Items[i], &results[i], call, p, o, i))
			}
		}
		if at := slices.IndexFunc(items, (*item).invalid); at >= 0 && s.rulebook.behind(ctx, call.rules, items[at].result.Error.Err()) {
			return errRules
		}
		if err := s.recordRefused(ctx, call, r, items); err != nil {
			return err
		}
		s.lookUp(ctx, items)
		for some := range slices.Chunk(items, chunk) {
			if err := s.tokenizeChunk(ctx, call, r, some); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(results, func(r api.TokenizeResult) bool { return r.Error != nil }) {
			return s.overtaken(ctx, o)
		}
		return nil
	})
}

// recordRefused writes an entry for each item that the purpose forbids.
func (s *Service) recordRefused(ctx context.Context, call Call, r access.Request, items []*item) error {
	var deeds []deed
	for _, it := range items {
		if e := it.result.Error; e != nil && e.Code == fault.Denied {
			d := deed{request: r}
			d.request.Fields, d.entry.Items = it.fieldNames(), it.count()
			d.request.Refusal = &fault.Error{Code: e.Code, Detail: e.Detail, Fields: e.Errors}
			deeds = append(deeds, d)
		}
	}
	if deeds == nil {
		return nil
	}
	_, err := s.perform(ctx, call, deeds...)
	return err
}

// lookUp gets the index entries of all items in one batch. When it can't be had, the items that need it fail.
func (s *Service) lookUp(ctx context.Context, items []*item) {
	var all []*lookup
	for _, it := range items {
		if !it.settled() {
			all = append(all, it.lookups...)
		}
	}
	if err := s.index.entries(ctx, all...); err != nil {
		for _, it := range items {
			if len(it.lookups) > 0 && !it.settled() {
				it.fail(err)
			}
		}
	}
}

// tokenizeChunk settles the items, in as many rounds as it takes.
func (s *Service) tokenizeChunk(ctx context.Context, call Call, r access.Request, items []*item) error {
	inTurn := false
	for lost := 0; lost < maxRounds; {
		left := slices.DeleteFunc(slices.Clone(items), (*item).settled)
		if len(left) == 0 {
			return nil
		}
		contended, err := s.tokenizeRound(ctx, call, r, left)
		if errors.Is(err, errEpoch) {
			s.index.state.Store(nil)
			s.lookUp(ctx, left)
		} else if err != nil {
			return err
		}
		if items = left; !slices.ContainsFunc(items, (*item).settled) {
			if lost++; lost == 1 {
				defer s.index.losers.enter()()
			}
		}
		if contended != "" && lost > 0 && !inTurn {
			inTurn = true
			end, err := s.turns.take(ctx, contended)
			if err != nil {
				return err
			}
			defer end()
		}
	}
	for _, it := range items {
		if !it.settled() {
			it.fail(errContended)
		}
	}
	return nil
}

// plans finds the person of each item in one snapshot. Of several items that are about one person the first is planned;
// the others wait for the next round, which sees what it has written.
func (s *Service) plans(ctx context.Context, call Call, items []*item) (plans []*plan, err error) {
	err = s.Store.View(ctx, func(rd store.Reader) error {
		plans = plans[:0]
		for _, it := range items {
			if err := s.index.stands(rd, it.lookups...); err != nil {
				return err
			}
		}
		taken := make(map[string]bool, len(items))
		for _, it := range items {
			p := &plan{item: it, call: call}
			if err := s.find(rd, p); err != nil {
				return err
			}
			about := p.about()
			if slices.ContainsFunc(about, func(a string) bool { return taken[a] }) {
				continue
			}
			for _, a := range about {
				taken[a] = true
			}
			plans = append(plans, p)
		}
		return nil
	})
	return plans, err
}

// about tells whom a plan is about: the person found, or whatever would find the person it is going to make.
func (p *plan) about() []string {
	if p.person.raw != nil {
		return []string{p.person.id.String()}
	}
	var about []string
	for _, l := range p.item.finders() {
		about = append(about, l.field+"/"+string(l.entry[:]))
	}
	return about
}

// tokenizeRound reads one snapshot, finds the person of each item, seals what is new, and commits what still holds. It
// names a person whose change was lost to another writer.
func (s *Service) tokenizeRound(ctx context.Context, call Call, r access.Request, items []*item) (contended string, err error) {
	permit := s.keyring.Permit()
	plans, err := s.plans(ctx, call, items)
	if err != nil {
		return "", err
	}
	keys, err := s.keysFor(ctx, permit, plans)
	if err != nil {
		return "", err
	}
	defer keys.close()

	deeds := make([]deed, len(plans))
	for i, p := range plans {
		if deeds[i], err = s.tokenizeDeed(ctx, r, p, keys); err != nil {
			return "", err
		}
	}
	permit = s.keyring.Permit()
	outcomes, err := s.perform(ctx, call, deeds...)
	if err != nil {
		return "", fmt.Errorf("tokenize: %w", err)
	}
	for i, o := range outcomes {
		switch {
		case o.stale:
			contended = deeds[i].request.Subject
		case o.err != nil:
			plans[i].item.fail(o.err)
		default:
			keys.keep(permit, plans[i].fresh)
			plans[i].item.succeed(plans[i], s.receipt(plans[i]))
		}
	}
	return contended, nil
}

// tokenizeDeed writes the plan out; what forbids it becomes the refusal that is recorded.
func (s *Service) tokenizeDeed(ctx context.Context, r access.Request, p *plan, keys *writingKeys) (deed, error) {
	r.Fields, r.Basis, r.Consent = p.item.fieldNames(), p.footing.basis, p.footing.consent
	if p.person.raw != nil || p.refusal == nil {
		r.Subject = p.person.id.String()
	}
	d := deed{request: r, alerts: p.alerts}
	d.entry.Items = p.item.count()
	by := s.mayRecord(ctx, r, p)
	if p.refusal == nil && !p.replayed {
		effect, err := s.write(p, keys)
		if err != nil {
			p.refusal = fault.From(edge(err))
		}
		d.effect = effect
	}
	d.request.Refusal = p.refusal
	if field := p.learnt(); field != "" {
		d.dues = []due{{p.item.at, budget.Search, s.categoryOf(field)}}
	}
	if p.refusal == nil && !p.replayed && p.consent != nil {
		return d, s.recordedWith(d.effect, p.call, r, by, p)
	}
	return d, nil
}

// mayRecord has the gate decide on the consent that an item brings: who may bring data may not for that reason alone say
// what its person consented to.
func (s *Service) mayRecord(ctx context.Context, r access.Request, p *plan) access.Decision {
	if p.consent == nil || p.refusal != nil || p.replayed {
		return access.Decision{}
	}
	r.Action, r.Principal, r.Fields, r.Basis = access.RecordConsent, p.call.Principal, nil, ""
	r.Consent = named(p.consent.id, p.consent.row.Version)
	by := p.call.rules.gate.Decide(ctx, r)
	if !by.Allowed() {
		p.refusal = fault.From(by.Err())
	}
	return by
}

// learnt names a field of which the answer tells the caller something that it may not have known: that somebody has its
// value, or that a person has another. It is a search, however the item ends.
func (p *plan) learnt() string {
	switch {
	case p.replayed:
		return ""
	case p.met != "":
		return p.met
	case len(p.differs) > 0:
		return p.differs[0]
	case p.refusal != nil && p.refusal.Code == fault.Conflict && len(p.refusal.Fields) > 0:
		return p.refusal.Fields[0].Field
	default:
		return ""
	}
}

// categoryOf is the category of a field; empty when it is none of the schema's.
func (s *Service) categoryOf(field string) string {
	f, ok := s.Schema.Field(field)
	if !ok {
		return ""
	}
	return string(f.Category)
}

// prepare normalises an item. An item that breaks a rule, or leaves the purpose, is settled at once.
func (s *Service) prepare(req *api.TokenizeItem, result *api.TokenizeResult, call Call, p *purpose.Purpose, o *once, at int) *item {
	it := &item{request: req, result: result, purpose: p.Name, once: o, at: at, earlier: o.earlier(at)}
	var bad, outside []fault.Field
	for _, name := range sortedKeys(req.Fields) {
		f, ok := s.Schema.Field(name)
		switch {
		case !ok:
			bad = append(bad, unknownField(name))
			continue
		case !p.Allows(name):
			outside = append(outside, fault.Field{Field: name, Rule: rulePurpose})
		}
		values, broken := normalise(f, req.Fields[name])
		bad = append(bad, broken...)
		it.add(values)
	}
	bad = append(bad, it.checkRest(call)...)
	given, broken := s.givenConsent(call, req.Consent)
	bad = append(bad, withPlace("consent", broken)...)
	it.consent, it.identity = given, it.identity || given.sealed()
	switch {
	case len(bad) > 0:
		it.fail(&fault.Error{Code: fault.Invalid, Detail: "this item breaks a rule", Fields: bad})
	case len(outside) > 0:
		it.fail(&fault.Error{Code: fault.Denied, Detail: "the purpose does not need this", Fields: outside})
	}
	return it
}

// keysFor opens the keys that the plans need: those of the people found, and fresh ones for new slices. A key that can't
// be had fails the plans that need it and no others.
func (s *Service) keysFor(ctx context.Context, permit permit, plans []*plan) (*writingKeys, error) {
	k := &writingKeys{service: s}
	wanted := make(map[kms.ID]bool, len(plans))
	lacking := 0
	for _, p := range plans {
		if p.refusal == nil && !p.replayed {
			p.refusal = p.fading()
		}
		if p.refusal != nil || p.replayed {
			continue
		}
		for _, h := range p.held {
			for _, rec := range h.records {
				wanted[rec.Key] = true // its slice may have been another when it was sealed
			}
		}
		for _, slice := range p.slices() {
			if id, ok := p.person.row.Keys[slice]; ok {
				wanted[id] = true
			} else {
				p.lacks = append(p.lacks, slice)
			}
		}
		lacking += p.needs()
	}
	return k, k.open(ctx, permit, slices.Collect(maps.Keys(wanted)), lacking, plans)
}
