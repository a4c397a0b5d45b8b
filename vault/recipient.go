package vault

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
)

// homeCountry is where the law of the vault holds: a recipient elsewhere needs what a transfer across the border needs.
const homeCountry = "KZ"

// recipientObjects are the third parties that data may be disclosed to.
func recipientObjects() *objectKind {
	return &objectKind{
		class: classRecipient, kind: "recipient", action: access.ChangeConfig, approval: ApproveConfig,
		check: (*Service).checkRecipient, read: (*Service).readRecipient, show: (*Service).showRecipient,
	}
}

// PutRecipient registers a recipient, or changes its registration. What a transfer across the border needs may follow later:
// until then nothing is disclosed.
func (s *Service) PutRecipient(ctx context.Context, call Call, name string, in *api.Recipient) (*api.Change, error) {
	if err := checkOwnName(in.Name, name); err != nil {
		return nil, err
	}
	body := *in
	body.Name, body.ManagedBy, body.Version = "", "", 0
	return s.propose(ctx, call, recipientObjects(), name, in.Version, &body)
}

// Recipients lists the recipients by name.
func (s *Service) Recipients(ctx context.Context, call Call) (*api.Page[api.Recipient], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.Recipient], error) { return pageOf(call.rules.recipients), nil })
}

// Recipient shows one recipient.
func (s *Service) Recipient(ctx context.Context, call Call, name string) (*api.Recipient, error) {
	return configured(ctx, s, call, func(call Call) (*api.Recipient, error) {
		if r := call.rules.recipients[name]; r != nil {
			return r, nil
		}
		return nil, fault.New(fault.NotFound, "there is no such recipient")
	})
}

// pageOf lists objects by name, all on one page.
func pageOf[T any](objects map[string]*T) *api.Page[T] {
	page := &api.Page[T]{Items: []T{}}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		page.Items = append(page.Items, *objects[name])
	}
	return page
}

const maxTitle = 400 // bytes in each language

// referencePattern is the shape of what refers to a paper: it may not hold what a person could be known by.
var referencePattern = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,200}$`)

func isReference(s string) bool {
	return s == "" || len(s) <= 200 && referencePattern.MatchString(s) && !numberInCode.MatchString(s)
}

func (s *Service) checkRecipient(_ context.Context, call Call, name string, body []byte) *fault.Error {
	r, err := objectOf[api.Recipient](body)
	if err != nil {
		return fault.From(err)
	}
	titleless := func(text string) bool { return text == "" || len(text) > maxTitle }
	unknownField := func(field string) bool {
		_, known := s.Schema.Field(field)
		return !known && field != documentsField
	}
	const ruleReference = "at most 200 bytes on one line, no run of 9 digits"
	abroad := r.CrossBorder
	if abroad == nil {
		abroad = &api.CrossBorder{}
	}
	switch {
	case !purpose.IsName(name):
		return fault.Bad("name", ruleName)
	case slices.ContainsFunc([]string{r.Title.KK, r.Title.RU, r.Title.EN}, titleless):
		return fault.Bad("titles", "kk, ru and en, each of at most 400 bytes")
	case !schema.IsCountry(r.Country):
		return fault.Bad("country", "a country as ISO 3166-1 alpha-2")
	case repeats(r.Purposes), len(r.Purposes) == 0, call.rules.lacksPurpose(r.Purposes):
		return fault.Bad("purposes", "purposes that there are, one at least, each once")
	case repeats(r.Fields), slices.ContainsFunc(r.Fields, unknownField):
		return fault.Bad("fields", "fields of the schema, or documents, each once")
	case !isReference(abroad.Assessment):
		return fault.Bad("cross_border.assessment", ruleReference)
	case !isReference(abroad.Notification):
		return fault.Bad("cross_border.notification", ruleReference)
	}
	return nil
}

const ruleName = "a small letter and up to 39 small letters, digits and underscores, no run of 9 digits"

// lacksPurpose reports whether one of the names is of no purpose.
func (r *rules) lacksPurpose(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		_, ok := r.purposes.Get(n)
		return !ok
	})
}

func repeats(names []string) bool {
	sorted := slices.Sorted(slices.Values(names))
	return len(slices.Compact(sorted)) != len(names)
}

func (s *Service) readRecipient(made *rules, name string, row *ruleRow) error {
	object, err := s.showRecipient(name, row)
	if err != nil {
		return err
	}
	made.recipients[name] = object.Recipient
	return nil
}

func (s *Service) showRecipient(name string, row *ruleRow) (*api.Object, error) {
	r, err := objectOf[api.Recipient](row.Body)
	if err != nil {
		return nil, err
	}
	r.Name, r.ManagedBy, r.Version = name, api.ManagedByAPI, int(row.Version)
	return &api.Object{Recipient: r}, nil
}

// unready is what is missing before data may cross the border to a recipient, as the member of its registration; empty when
// nothing is.
func unready(r *api.Recipient, now time.Time) (missing string) {
	b := r.CrossBorder
	if b == nil {
		return "cross_border"
	}
	done := func(reference string, at time.Time) bool { return reference != "" && !at.IsZero() && !at.After(now) }
	switch {
	case !done(b.Assessment, b.AssessedAt):
		return "cross_border.assessment"
	case !done(b.Notification, b.NotifiedAt):
		return "cross_border.notification"
	case !b.ValidUntil.IsZero() && !now.Before(b.ValidUntil):
		return "cross_border.valid_until"
	}
	return ""
}
