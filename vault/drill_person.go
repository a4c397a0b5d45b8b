package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// standIn is somebody whom a drill made up.
type standIn struct {
	id       SubjectID
	name     string // by which the vault itself, as a system, calls them
	purpose  string
	ref      string
	values   map[string]api.Value
	tokens   map[string]string // field → token
	document string            // its token
	scan     []byte
}

const drillReason = "drill"

// register makes both people, each with a document.
func (d *drill) register(ctx context.Context) error {
	for i, who := range []*standIn{&d.gone, &d.stays} {
		if err := d.registerOne(ctx, who, d.made[i]); err != nil {
			return err
		}
	}
	return nil
}

// registerOne makes one up. Whoever is known by the values already is left alone, and others are drawn.
func (d *drill) registerOne(ctx context.Context, who *standIn, id SubjectID) error {
	const attempts = 5
	var result *api.TokenizeResult
	for range attempts {
		var err error
		result, err = underRules(ctx, d.Service, d.call(), func(call Call) (*api.TokenizeResult, error) {
			p, of := d.drillPurpose(call.rules)
			if p == nil {
				return nil, fails(drillUnfit, nil)
			}
			*who = invented(id, p.Name, of)
			return d.tokenizeAs(ctx, call, p, who)
		})
		if err != nil {
			return err
		}
		if result.Error == nil {
			break
		}
	}
	if result.Error != nil {
		return fmt.Errorf("register somebody: %w", result.Error.Err())
	}
	who.name, who.tokens = result.Subject, map[string]string{}
	for field, tokens := range result.Tokens {
		who.tokens[field] = tokens.Items[0]
	}
	put, err := d.PutDocument(ctx, d.call(), Upload{
		Subject: who.name, Kind: "other", MediaType: "application/pdf", Purpose: who.purpose, Capture: "digital",
		Length: int64(len(who.scan)), Body: bytes.NewReader(who.scan),
	})
	if err != nil {
		return fmt.Errorf("put a document: %w", err)
	}
	who.document = put.Token
	return nil
}

// tokenizeAs registers somebody new under an id that was drawn before. It fails, in its result, when they are not new.
func (d *drill) tokenizeAs(ctx context.Context, call Call, p *purpose.Purpose, who *standIn) (*api.TokenizeResult, error) {
	asked := &api.TokenizeItem{ExternalRef: who.ref, Fields: map[string]api.OneOrMany[api.Value]{}}
	for field, value := range who.values {
		asked.Fields[field] = api.OneOrMany[api.Value]{Items: []api.Value{value}}
	}
	result := &api.TokenizeResult{}
	it := d.prepare(asked, result, call, p, &once{}, 0)
	it.as = who.id
	d.lookUp(ctx, []*item{it})
	return result, d.tokenizeChunk(ctx, call, access.Request{Action: access.Tokenize, Purpose: p.Name}, []*item{it})
}

// drillFields are the fields that a drill fills, as far as the schema has them.
func (s *Service) drillFields() map[string]*schema.Field {
	all := map[string]*schema.Field{}
	for _, name := range []string{"iin", "family_name", "given_name"} {
		if f, ok := s.Schema.Field(name); ok {
			all[name] = f
		}
	}
	return all
}

// drillPurpose chooses for which purpose: one that needs nobody's consent, has documents, and of the fields the most.
func (s *Service) drillPurpose(r *rules) (best *purpose.Purpose, of []string) {
	names := slices.Sorted(maps.Keys(s.drillFields()))
	for _, p := range r.purposes.All() {
		if p.Retired || p.Discloses || p.CrossBorder || p.Basis.Consent || !p.AllowsDocuments() || !r.mayName(itself, p) {
			continue
		}
		has := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !p.Allows(n) })
		if len(has) > len(of) {
			best, of = p, has
		}
	}
	return best, of
}

// invented makes somebody up, whose name says what they are, and who was born under the tsar: a valid IIN, and nobody's.
func invented(id SubjectID, purpose string, fields []string) standIn {
	values := map[string]api.Value{
		"iin": api.Text(inventedIIN()), "family_name": api.Text("Sandyq"), "given_name": api.Text("Canary Drill"),
	}
	maps.DeleteFunc(values, func(field string, _ api.Value) bool { return !slices.Contains(fields, field) })
	return standIn{
		id: id, purpose: purpose, ref: "drill-" + rand.Text(), values: values,
		scan: []byte("%PDF-1.4\n% A canary drill of Sandyq made this. It is nobody's: " + rand.Text() + "\n%%EOF\n"),
	}
}

// inventedIIN draws a valid IIN of the nineteenth century, when there were none.
func inventedIIN() string {
	for {
		first := fmt.Sprintf("%02d%02d%02d%d%04d", below(100), 1+below(12), 1+below(28), 1+below(2), below(10_000))
		if digit, ok := iin.CheckDigit(first); ok {
			return first + string(digit)
		}
	}
}

func below(n int64) int64 {
	return must(rand.Int(rand.Reader, big.NewInt(n))).Int64()
}

// reads reports what of somebody a service gives out: every value and the document, or nothing at all. In between is an error.
func (d *drill) reads(ctx context.Context, s *Service, who *standIn) (bool, error) {
	fields := slices.Sorted(maps.Keys(who.tokens))
	ask := &api.DetokenizeRequest{Purpose: who.purpose, Reason: drillReason}
	for _, field := range fields {
		ask.Tokens = append(ask.Tokens, who.tokens[field])
	}
	shown := 0
	out, err := s.Detokenize(ctx, d.call(), ask)
	if err == nil {
		for i, r := range out.Results {
			if r.Value == nil {
				continue
			}
			if !r.Value.Equal(who.values[fields[i]]) {
				return false, errors.New("another value was given out than was registered")
			}
			shown++
		}
	}
	scan, err := d.readDocument(ctx, s, who)
	if err == nil {
		if !bytes.Equal(scan, who.scan) {
			return false, errors.New("another document was given out than was put in")
		}
		shown++
	}
	switch shown {
	case 0:
		return false, ctx.Err()
	case len(fields) + 1:
		return true, nil
	}
	return true, fmt.Errorf("%d of %d values and documents were given out", shown, len(fields)+1)
}

func (d *drill) readDocument(ctx context.Context, s *Service, who *standIn) (_ []byte, err error) {
	opened, err := s.OpenDocument(ctx, d.call(), &api.OpenDocumentRequest{Token: who.document, Purpose: who.purpose, Reason: drillReason})
	if err != nil {
		return nil, err
	}
	content, err := s.Content(ctx, d.call(), opened.Content[len("/v1/content/"):])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	return io.ReadAll(io.LimitReader(content, int64(len(who.scan))+1))
}

// finds reports whether a service finds somebody: by asking it, as a system does that has their value, and in the rows of its
// index, those of their external_ref included.
func (d *drill) finds(ctx context.Context, s *Service, who *standIn) (bool, error) {
	lookups := []*lookup{{field: refField(itself), value: who.ref}}
	for name, value := range who.values {
		f, ok := s.Schema.Field(name)
		if !ok || !f.Searchable {
			continue
		}
		out, err := s.Search(ctx, d.call(), &api.SearchRequest{Purpose: who.purpose, Reason: drillReason, Field: name, Value: value})
		if err != nil {
			return false, fmt.Errorf("search: %w", err)
		}
		if slices.ContainsFunc(out.Results, func(r api.SearchResult) bool { return r.Subject == who.name }) {
			return true, nil
		}
		if canonical, rule := f.Normalise(value); rule == "" {
			lookups = append(lookups, &lookup{field: name, value: canonical.Key()})
		}
	}
	return s.indexHas(ctx, who.id, lookups)
}

// indexHas reports whether one of the lookups leads to somebody.
func (s *Service) indexHas(ctx context.Context, who SubjectID, lookups []*lookup) (has bool, err error) {
	for round := range maxRounds {
		if round == 1 {
			defer s.index.losers.enter()()
		}
		if err := s.index.entries(ctx, lookups...); err != nil {
			return false, fmt.Errorf("look into the index: %w", err)
		}
		err = s.Store.View(ctx, func(r store.Reader) error {
			if err := s.index.stands(r, lookups...); err != nil {
				return err
			}
			has, err = s.leadsTo(r, who, lookups)
			return err
		})
		if !errors.Is(err, errEpoch) {
			return has, err
		}
		s.index.state.Store(nil)
	}
	return false, errContended
}

func (s *Service) leadsTo(r store.Reader, who SubjectID, lookups []*lookup) (bool, error) {
	owners, err := s.owners(r, lookups)
	if err != nil {
		return false, err
	}
	for i, l := range lookups {
		if owners[i] != nil {
			if owner, _ := ownerOf(owners[i]); owner == who {
				return true, nil
			}
		}
		for _, e := range l.all() {
			rows, err := r.Scan(append(s.rows.lookups(l.field, e), who[:]...), nil, 1)
			if err != nil || len(rows) > 0 {
				return len(rows) > 0, err
			}
		}
	}
	return false, nil
}
