package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// classCanary are the canaries among the rules, by their ids: so every node knows them all in memory, and looking for one
// costs the same whether it is there or not.
const classCanary ruleClass = 'c'

const canaryPrefix = "cny_"

// maxCanaries is how many there may be, for they are held in memory.
const maxCanaries = 10_000

// canaryRow is a person, or one token, that nobody has cause to use: whoever does is looking around. To everybody else they
// are like any other; what is refused of them is refused as ever, and what alerts is written beside it.
type canaryRow struct {
	Subject SubjectID   `cbor:"1,keyasint"`
	Token   token.Token `cbor:"2,keyasint,omitempty"` // the person's that is meant alone; it stays a canary when it is retired
	System  string      `cbor:"3,keyasint,omitempty"` // whose token it is
	Field   string      `cbor:"4,keyasint,omitempty"`
}

// canaries are the canaries of one generation of the rules.
type canaries struct {
	all    map[string]*canary // by id
	people map[string]string  // vault-wide id → the canary's
	tokens map[token.Token]*canary
}

// canary is a canary with the version of its row.
type canary struct {
	canaryRow
	id      string
	version uint32
	at      stamp
	by      string
}

// add takes in a canary that the store holds.
func (c *canaries) add(name string, row *ruleRow) error {
	body, err := decodeRow[canaryRow](row.Body)
	if err != nil {
		return err
	}
	if c.all == nil {
		c.all, c.people, c.tokens = map[string]*canary{}, map[string]string{}, map[token.Token]*canary{}
	}
	one := &canary{*body, name, row.Version, row.At, row.By}
	c.all[name] = one
	if one.Token != "" {
		c.tokens[one.Token] = one
	} else {
		c.people[one.Subject.String()] = name
	}
	return nil
}

// person is what a use of a person alerts of.
func (c *canaries) person(subject string) []api.Alert {
	name, ok := c.people[subject]
	if !ok {
		return nil
	}
	return []api.Alert{{Kind: alertCanary, Subject: subject, Object: name}}
}

// touched is what showing a token alerts of, whoever shows it and whatever has become of it: itself, and the person behind
// it, if there is one.
func (c *canaries) touched(t token.Token, behind SubjectID) []api.Alert {
	if len(c.all) == 0 {
		return nil
	}
	all := c.person(behind.String())
	if one := c.tokens[t]; one != nil {
		all = append(all, api.Alert{Kind: alertCanary, Subject: one.Subject.String(), Object: one.id})
	}
	return all
}

// named is what naming a person alerts of when the caller may not know of them: by their vault-wide id, or by the id that
// a system has for them.
func (s *Service) named(r store.Reader, c *canaries, text string) ([]api.Alert, error) {
	raw, err := parseID(subjectPrefix, text)
	if err != nil || len(c.people) == 0 {
		return nil, nil //nolint:nilerr // no id names nobody
	}
	link, err := seekRow[pairwiseRow](r, s.rows.pairwise(PairwiseID(raw)), likePairwise)
	if err != nil {
		return nil, err
	}
	if link != nil {
		return c.person(link.Subject.String()), nil
	}
	return c.person(SubjectID(raw).String()), nil
}

// find is the canary by its id, or by the person's.
func (c *canaries) find(name string) *canary {
	if by, ok := c.people[name]; ok {
		name = by
	}
	return c.all[name]
}

func (c *canary) wire() *api.Canary {
	kind := api.CanaryPerson
	if c.Token != "" {
		kind = api.CanaryToken
	}
	return &api.Canary{
		ID: c.id, Kind: kind, Subject: c.Subject.String(), System: c.System, Field: c.Field, MarkedAt: c.at.time(), MarkedBy: c.by,
	}
}

// MarkCanary makes a person, or one token, a canary. Marking again answers the same.
func (s *Service) MarkCanary(ctx context.Context, call Call, req *api.MarkCanaryRequest) (*api.Canary, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Canary, error) { return s.markCanary(ctx, call, req) })
}

func (s *Service) markCanary(ctx context.Context, call Call, req *api.MarkCanaryRequest) (*api.Canary, error) {
	r := access.Request{Action: access.MarkCanary}
	if (req.Subject == "") == (req.Token == "") {
		return nil, fault.Bad("subject", "either a person or a token")
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	body, err := s.canaryOf(ctx, call.Principal, req)
	if refusal := fault.From(err); err != nil {
		if refusal.Code == fault.Internal {
			return nil, err
		}
		return nil, s.refuse(ctx, call, r, refusal)
	}
	known := &call.rules.canaries
	one := known.tokens[body.Token]
	if body.Token == "" {
		one = known.find(body.Subject.String())
	}
	d := deed{request: r}
	if one == nil {
		if len(known.all) >= maxCanaries {
			return nil, fault.New(fault.Conflict, "there are too many canaries: take some away first")
		}
		one = &canary{*body, id.Encode(canaryPrefix, id.New()), 1, stampOf(s.Clock()), call.Principal.System}
		d.effect = &draft{}
		s.changeRule(d.effect, call.rules, classCanary, one.id, &ruleRow{Version: 1, Body: encodeRow(body), At: one.at, By: one.by})
	}
	d.entry.Objects = []string{one.id}
	return s.changedCanary(ctx, call, d, one)
}

// canaryOf finds what is to be a canary, among the people and tokens that the caller may see.
func (s *Service) canaryOf(ctx context.Context, caller access.Principal, req *api.MarkCanaryRequest) (row *canaryRow, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		if req.Token != "" {
			row, err = s.canaryToken(r, caller, req.Token)
			return err
		}
		who, err := s.resolve(r, caller, req.Subject)
		switch {
		case err != nil:
			return err
		case who.row.state != stateActive:
			return fault.New(fault.Erased, "this person is erased")
		}
		row = &canaryRow{Subject: who.id}
		return nil
	})
	return row, err
}

func (s *Service) canaryToken(r store.Reader, caller access.Principal, text string) (*canaryRow, error) {
	t, _, err := token.Parse(text)
	if err != nil {
		return nil, mistyped()
	}
	row, err := getRow[tokenRow](r, s.rows.token(t))
	switch {
	case err != nil:
		return nil, err
	case row == nil, row.Revoked, row.Erased, !caller.Reads(row.System):
		return nil, fault.New(fault.NotFound, "there is no such token")
	}
	return &canaryRow{Subject: row.Subject, Token: t, System: row.System, Field: row.Field}, nil
}

// changedCanary performs a change of the canaries, from whose acknowledgement on it holds.
func (s *Service) changedCanary(ctx context.Context, call Call, d deed, one *canary) (*api.Canary, error) {
	if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
		return nil, err
	}
	if d.effect != nil {
		if err := s.rulebook.load(ctx); err != nil {
			return nil, err
		}
	}
	return one.wire(), nil
}

// Canaries lists the canaries, the oldest first.
func (s *Service) Canaries(ctx context.Context, call Call) (*api.Page[api.Canary], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.Canary], error) {
		if err := s.consult(ctx, call, access.MarkCanary); err != nil {
			return nil, err
		}
		page := &api.Page[api.Canary]{Items: []api.Canary{}}
		for _, one := range call.rules.canaries.all {
			page.Items = append(page.Items, *one.wire())
		}
		slices.SortFunc(page.Items, func(a, b api.Canary) int {
			if a.MarkedAt.Equal(b.MarkedAt) {
				return strings.Compare(a.ID, b.ID)
			}
			return a.MarkedAt.Compare(b.MarkedAt)
		})
		return page, nil
	})
}

// UnmarkCanary makes a canary like any other again. It is named by its id, or a person by theirs.
func (s *Service) UnmarkCanary(ctx context.Context, call Call, name string) (*api.Canary, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Canary, error) { return s.unmarkCanary(ctx, call, name) })
}

func (s *Service) unmarkCanary(ctx context.Context, call Call, name string) (*api.Canary, error) {
	r := access.Request{Action: access.MarkCanary}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	one := call.rules.canaries.find(name)
	if one == nil {
		return nil, s.refuse(ctx, call, r, fault.New(fault.NotFound, "there is no such canary"))
	}
	d := deed{request: r, effect: &draft{}}
	d.entry.Objects = []string{one.id}
	s.changeRule(d.effect, call.rules, classCanary, one.id, &ruleRow{
		Version: one.version + 1, At: stampOf(s.Clock()), By: call.Principal.System,
	})
	return s.changedCanary(ctx, call, d, one)
}
