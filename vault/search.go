package vault

import (
	"bytes"
	"context"
	"errors"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// maxFound is how many people a search lists at most.
const maxFound = 100

// Search finds people by the exact value of a searchable field: an application among those it holds, staff among all.
func (s *Service) Search(ctx context.Context, call Call, req *api.SearchRequest) (*api.SearchResponse, error) {
	resp, err := s.search(ctx, call, req)
	return resp, edge(err)
}

func (s *Service) search(ctx context.Context, call Call, req *api.SearchRequest) (*api.SearchResponse, error) {
	r, p, err := s.reading(access.Search, req.Purpose, req.Reason, "", req.OnBehalfOf)
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
	r.Refusal = outsidePurpose(p, []*schema.Field{f})
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	l := &lookup{field: f.Name, value: value.Key()}
	if err := s.index.entries(ctx, l); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Reading)
	return s.searched(ctx, call, r, f, l.entry)
}

// searched looks the entry up and answers with what has not changed once the search is recorded: one entry for each person
// found, one about nobody for a miss.
func (s *Service) searched(ctx context.Context, call Call, r access.Request, f *schema.Field, e blind.Entry) (*api.SearchResponse, error) {
	for range maxRounds {
		resp := &api.SearchResponse{Results: []api.SearchResult{}}
		var deeds []deed
		err := s.Store.View(ctx, func(rd store.Reader) error {
			resp.Results, deeds = resp.Results[:0], nil
			return s.eachFound(rd, f, e, func(id SubjectID, slot uint16) (enough bool, err error) {
				err = s.result(rd, call.Principal, r, f, id, slot, resp, &deeds)
				return len(resp.Results) == maxFound, err
			})
		})
		if err != nil {
			return nil, err
		}
		if len(deeds) == 0 {
			deeds = []deed{{request: r}}
		}
		outcomes, err := s.perform(ctx, call, deeds...)
		if err != nil {
			return nil, err
		}
		stale := false
		for _, o := range outcomes {
			if o.err != nil {
				return nil, o.err
			}
			stale = stale || o.stale
		}
		if !stale {
			return resp, nil
		}
	}
	return nil, errContended
}

// eachFound tells who has a value, and in which slot, until enough are told.
func (s *Service) eachFound(r store.Reader, f *schema.Field, e blind.Entry, tell func(SubjectID, uint16) (enough bool, err error)) error {
	if f.Unique {
		rows, err := r.Get(s.rows.unique(f.Name, e))
		if err != nil || rows[0] == nil {
			return err
		}
		_, err = tell(SubjectID(rows[0][:16]), slotOf(rows[0]))
		return err
	}
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
	return err
}

// errEnough ends a scan that has found what it needs.
var errEnough = errors.New("enough")

// result adds a person whom the caller may know by this value: a system must have a token of it.
func (s *Service) result(r store.Reader, caller access.Principal, req access.Request, f *schema.Field, id SubjectID, slot uint16, resp *api.SearchResponse, deeds *[]deed) error {
	if !caller.Role.VaultWide() {
		issued, err := r.Get(s.rows.issued(id, caller.System, f.Name, slot))
		if err != nil || issued[0] == nil {
			return err
		}
	}
	p, err := s.load(r, id, caller.System)
	if err != nil {
		return err
	}
	if p == nil || p.row.state != stateActive || p.holding == nil && !caller.Role.VaultWide() {
		return nil
	}
	tokens, err := s.tokensOf(r, id, caller.System)
	if err != nil {
		return err
	}
	d := deed{request: req, effect: &draft{}}
	d.request.Subject = id.String()
	d.effect.expectPrefix(s.rows.subject(id), p.row.status.encode())
	*deeds = append(*deeds, d)
	resp.Results = append(resp.Results, api.SearchResult{Subject: p.name(caller), Tokens: tokens})
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
