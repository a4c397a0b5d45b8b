package vault

import (
	"errors"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/store"
)

// use is what data is asked for: the purpose, and the third party it is disclosed to.
type use struct {
	*purpose.Purpose
	to *party // nil: it stays with the operator
}

// party is a third party that is fit to be disclosed to for a purpose, by all that does not depend on the person.
type party struct {
	*api.Recipient
	abroad bool // the data leaves the country
}

// useOf finds the third party that a request names for its purpose. What the request says wrongly is the error; what
// forbids the disclosure becomes the request's refusal.
func (s *Service) useOf(now *rules, r *access.Request, p *purpose.Purpose, recipient string) (use, error) {
	u := use{Purpose: p}
	switch {
	case p.Discloses && recipient == "":
		return u, fault.Bad("recipient", "required: this purpose discloses to third parties")
	case !p.Discloses && recipient != "":
		return u, fault.Bad("recipient", "none: this purpose does not disclose to third parties")
	case recipient == "":
		return u, nil
	}
	known, ok := now.recipients[recipient]
	if !ok {
		r.Refusal = unfit(ruleUnknown) // and the log does not tell what stood there
		return u, nil
	}
	r.Recipient = recipient
	u.to = &party{known, known.Country != homeCountry || p.CrossBorder}
	if wrong := u.to.unfit(p, s.Clock()); wrong != nil {
		r.Refusal = unfit(wrong...)
	}
	return u, nil
}

// unfit lists what stands against disclosing to the party for a purpose, whoever it is about.
func (t *party) unfit(p *purpose.Purpose, now time.Time) (wrong []string) {
	if len(p.Recipients) > 0 && !slices.Contains(p.Recipients, t.Name) {
		wrong = append(wrong, "not named by the purpose")
	}
	if !slices.Contains(t.Purposes, p.Name) {
		wrong = append(wrong, "not on record for the purpose")
	}
	if missing := unready(t.Recipient, now); t.abroad && missing != "" {
		wrong = append(wrong, "not on record, or past its term: "+missing)
	}
	return wrong
}

func unfit(rules ...string) *fault.Error {
	e := &fault.Error{Code: fault.Denied, Detail: "nothing is disclosed to this recipient for this purpose"}
	for _, rule := range rules {
		e.Fields = append(e.Fields, fault.Field{Field: "recipient", Rule: rule})
	}
	return e
}

// outside refuses fields that the purpose does not reach, or that the third party does not get.
func (u use) outside(fields ...string) *fault.Error {
	var beyond []fault.Field
	for _, f := range fields {
		switch {
		case f == documentsField && !u.AllowsDocuments(), f != documentsField && !u.Allows(f):
			beyond = append(beyond, fault.Field{Field: f, Rule: rulePurpose})
		case u.to != nil && len(u.to.Fields) > 0 && !slices.Contains(u.to.Fields, f):
			beyond = append(beyond, fault.Field{Field: f, Rule: "outside what the recipient gets"})
		}
	}
	if beyond == nil {
		return nil
	}
	return &fault.Error{Code: fault.Denied, Detail: "the purpose does not need this", Fields: beyond}
}

// consented is what a person's consent says against a disclosure, or nil: it must name the third party, and that the data
// may leave the country when it does. Where the purpose rests on no consent, or none is on record, it says nothing.
func (s *Service) consented(r store.Reader, u use, who SubjectID, bases []basis) (*fault.Error, error) {
	at := slices.IndexFunc(bases, func(b basis) bool { return b.purpose == u.Name })
	if u.to == nil || !u.Basis.Consent || at < 0 {
		return nil, nil
	}
	row, err := getRow[consentRow](r, s.rows.consent(who, bases[at].consent))
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, errors.New("a person in the store rests on a consent that is not there")
	}
	var lacks []string
	if !slices.Contains(row.ThirdParties, u.to.Name) {
		lacks = append(lacks, "not among the third parties of the consent")
	}
	if u.to.abroad && !row.CrossBorder {
		lacks = append(lacks, "the consent does not let the data leave the country")
	}
	if lacks == nil {
		return nil, nil
	}
	return unfit(lacks...), nil
}
