package vault

import (
	"bytes"
	"context"
	"errors"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// maxFound is how many people a search lists at most.
const maxFound = 100

// Search finds people by the exact value of a searchable field: an application among those it holds, staff among all.
func (s *Service) Search(ctx context.Context, call Call, req *api.SearchRequest) (*api.SearchResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.SearchResponse, error) { return s.search(ctx, call, req) })
}

func (s *Service) search(ctx context.Context, call Call, req *api.SearchRequest) (*api.SearchResponse, error) {
	r, p, err := s.reading(ctx, call, access.Search, req.Purpose, req.Reason, "", req.OnBehalfOf)
	if err != nil {
		return nil, err
	}
	f, ok := s.Schema.Field(req.Field)
	if !ok || !f.Searchable {
		return nil, fault.Bad("field", "not a searchable field")
	}
	value, rule := f.Normalise(req.Value)
	if rule != "" {
		return nil, fault.Bad("value", rule)
	}
	r.Fields = []string{f.Name}
	r.Refusal = use{Purpose: p}.outside(f.Name)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	l := &lookup{field: f.Name, value: value.Key()}
	if err := s.index.entries(ctx, l); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Reading)
	search := &finding{Service: s, call: call, request: r, purpose: p, field: f}
	return search.searched(ctx, l)
}

// finding is a search on its way: what is asked, and what one snapshot answers.
type finding struct {
	*Service
	call    Call
	request access.Request
	purpose *purpose.Purpose
	field   *schema.Field
	results []api.SearchResult
	deeds   []deed
	hidden  []api.Alert // of canaries that have the value and are not shown
}

// searched looks the value up and answers with what has not changed once the search is recorded: one entry for each person
// found, one about nobody for a miss.
func (f *finding) searched(ctx context.Context, l *lookup) (*api.SearchResponse, error) {
	for round := range maxRounds {
		if round == 1 {
			defer f.index.losers.enter()()
		}
		err := f.Store.View(ctx, func(r store.Reader) error {
			f.results, f.deeds, f.hidden = []api.SearchResult{}, nil, nil
			if err := f.index.stands(r, l); err != nil {
				return err
			}
			return f.eachFound(r, f.field, l, func(id SubjectID, slot uint16) (enough bool, err error) {
				err = f.look(r, id, slot)
				return len(f.results) == maxFound, err
			})
		})
		if errors.Is(err, errEpoch) {
			if err := f.index.again(ctx, l); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(f.deeds) == 0 {
			f.deeds = []deed{{request: f.request}}
		}
		f.deeds[0].alerts = f.hidden
		for n := range 1 + len(f.results) { // the question, and whoever it finds
			f.deeds[0].dues = append(f.deeds[0].dues, due{n, budget.Search, string(f.field.Category)})
		}
		outcomes, err := f.perform(ctx, f.call, f.deeds...)
		if err != nil {
			return nil, err
		}
		stale := false
		for i, o := range outcomes {
			if o.err != nil && f.deeds[i].request.Refusal == nil {
				return nil, o.err
			}
			stale = stale || o.stale
		}
		if !stale {
			return &api.SearchResponse{Results: f.results}, nil
		}
	}
	return nil, errContended
}

// eachFound tells who has a value, and in which slot, until enough are told.
func (s *Service) eachFound(r store.Reader, f *schema.Field, l *lookup, tell func(SubjectID, uint16) (enough bool, err error)) error {
	if f.Unique {
		rows, err := s.owners(r, []*lookup{l})
		if err != nil || rows[0] == nil {
			return err
		}
		_, err = tell(ownerOf(rows[0]))
		return err
	}
	for _, e := range l.all() {
		prefix := s.rows.lookups(f.Name, e)
		err := scanAll(r, prefix, func(p store.Pair) error {
			enough, err := tell(SubjectID(p.Key[len(prefix):]), slotOf(p.Key))
			if err == nil && enough {
				err = errEnough
			}
			return err
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends a scan that has found what it needs.
var errEnough = errors.New("enough")

// look adds a person whom the caller may know by this value: a system must have a token of it. Whoever may not be searched
// for under this purpose is not found, and the log says why.
func (f *finding) look(r store.Reader, id SubjectID, slot uint16) error {
	caller := f.call.Principal
	may, any, err := f.readable(r, caller, id)
	if err != nil || !any && !may[string(issuedPart(f.field.Name, slot))] {
		f.hidden = append(f.hidden, f.call.rules.canaries.person(id.String())...)
		return err
	}
	p, err := f.load(r, id, caller.System)
	if err != nil {
		return err
	}
	if p == nil || p.row.state != stateActive || p.holding == nil && !caller.VaultWide() {
		f.hidden = append(f.hidden, f.call.rules.canaries.person(id.String())...)
		return nil
	}
	d := deed{request: f.request, effect: &draft{}}
	d.request.Subject, d.request.State = id.String(), string(p.row.wire())
	rests, refusal := f.footing(f.purpose, p.row.bases)
	d.request.Basis, d.request.Consent, d.request.Refusal = rests.basis, rests.consent, refusal
	d.effect.expectPrefix(f.rows.subject(id), p.row.status.encode())
	f.deeds = append(f.deeds, d)
	if refusal != nil {
		return nil
	}
	tokens, err := f.tokensOf(r, id, caller.System)
	if err != nil {
		return err
	}
	f.results = append(f.results, api.SearchResult{Subject: p.name(caller), Tokens: tokens})
	return nil
}

// tokensOf lists the tokens that a system has of a person's fields.
func (s *Service) tokensOf(r store.Reader, id SubjectID, system string) (map[string]api.OneOrMany[string], error) {
	all := map[string]api.OneOrMany[string]{}
	prefix := s.rows.issuedTo(id, system)
	err := scanAll(r, prefix, func(p store.Pair) error {
		field, _, _ := bytes.Cut(p.Key[len(prefix):], []byte{0})
		f, ok := s.Schema.Field(string(field))
		if !ok {
			return nil // a document's, or of a field that the schema has no more
		}
		tokens := all[f.Name]
		tokens.Items = append(tokens.Items, string(p.Value))
		tokens.List = f.Many || len(tokens.Items) > 1 // many in an earlier schema
		all[f.Name] = tokens
		return nil
	})
	return all, err
}
