package vault

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

// givenConsent is a consent as a caller brings it, checked.
type givenConsent struct {
	row      consentRow
	evidence evidence
}

// sealed reports whether there is something to be sealed under the person's key.
func (g *givenConsent) sealed() bool { return g != nil && g.evidence != evidence{} }

var partyPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

const (
	maxParties = 50
	ruleParty  = "names of 1 to 40 of a–z, 0–9, dot, hyphen and _, no run of 9 digits; at most 50, each once"
)

// givenConsent checks a consent that a caller brings, under the rules of the moment.
func (s *Service) givenConsent(call Call, req *api.ConsentRequest) (*givenConsent, []fault.Field) {
	if req == nil {
		return nil, nil
	}
	g := &givenConsent{row: consentRow{
		Version: 1, Text: req.Text, Purposes: slices.Clone(req.Purposes), Channel: req.Channel, GivenBy: givenBySelf,
		System: call.Principal.System, ThirdParties: req.ThirdParties, CrossBorder: req.CrossBorder, Publication: req.Publication,
	}}
	g.evidence.Reference = req.Evidence
	if by := req.GivenBy; by != nil {
		g.row.GivenBy, g.evidence.Authority = by.Kind, by.Evidence
	}
	if !req.GivenAt.IsZero() {
		g.row.Given = stampOf(req.GivenAt)
	}
	if !req.ExpiresAt.IsZero() {
		g.row.Expires = stampOf(req.ExpiresAt)
	}
	var bad []fault.Field
	breaks := func(field, rule string) {
		if rule != "" {
			bad = append(bad, fault.Field{Field: field, Rule: rule})
		}
	}
	breaks("text", s.brokenText(call.rules, &g.row))
	breaks("purposes", brokenPurposes(call, g.row.Purposes))
	breaks("given_at", s.brokenGiven(&g.row))
	if g.row.Expires != 0 && g.row.Expires <= g.row.Given {
		breaks("expires_at", "after given_at")
	}
	if !slices.Contains(channels, req.Channel) {
		breaks("channel", fmt.Sprintf("one of %q", channels))
	}
	breaks("given_by", brokenGiver(g))
	if len(req.Evidence) > api.MaxEvidence || len(g.evidence.Authority) > api.MaxEvidence {
		breaks("evidence", fmt.Sprintf("at most %d bytes", api.MaxEvidence))
	}
	if !eachOnce(req.ThirdParties) || len(req.ThirdParties) > maxParties || slices.ContainsFunc(req.ThirdParties, func(n string) bool {
		return !partyPattern.MatchString(n) || numberInCode.MatchString(n)
	}) {
		breaks("third_parties", ruleParty)
	}
	if bad == nil {
		rule := ""
		g.row.Fields, rule = s.dataList(call.rules, g.row.Purposes, req.Fields)
		breaks("fields", rule)
	}
	return g, bad
}

func eachOnce(names []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(names)))) == len(names)
}

// brokenText finds the text that a consent is to, or names the rule that it breaks.
func (s *Service) brokenText(now *rules, row *consentRow) string {
	t, ok := now.texts[row.Text]
	switch {
	case row.Text == "":
		return ruleRequired
	case !ok:
		return "no such text is registered: see GET /v1/consents/texts"
	case row.Given != 0 && row.Given < stampOf(t.Effective):
		return "not yet effective when the consent was given"
	case slices.ContainsFunc(row.Purposes, func(p string) bool { return !t.Covers(p) }):
		return "does not cover these purposes"
	}
	row.Digests = digestsOf(t.Text)
	return ""
}

// brokenPurposes is the rule that the purposes of a consent break.
func brokenPurposes(call Call, purposes []string) string {
	switch {
	case len(purposes) == 0:
		return "at least 1"
	case !eachOnce(purposes):
		return "each named once"
	}
	for _, name := range purposes {
		p, ok := call.rules.purposes.Get(name)
		if ok && !call.rules.mayUse(call.Principal, p) {
			return "purposes that the caller may name"
		}
	}
	return call.rules.unconsentable(purposes)
}

func (s *Service) brokenGiven(row *consentRow) string {
	switch {
	case row.Given <= 0:
		return ruleRequired
	case row.Given > stampOf(s.Clock().Add(clockSkew)):
		return "not in the future"
	}
	return ""
}

func brokenGiver(g *givenConsent) string {
	switch {
	case g.row.GivenBy == givenBySelf && g.evidence.Authority != "":
		return "evidence is of a representative"
	case g.row.GivenBy == givenBySelf:
		return ""
	case g.row.GivenBy != givenByRepresentative:
		return fmt.Sprintf("kind is one of %q", []string{givenBySelf, givenByRepresentative})
	case g.evidence.Authority == "":
		return "a representative needs evidence"
	}
	return ""
}

// dataList is the data that a consent is about: what was listed, which the purposes must reach, or all that they reach.
func (s *Service) dataList(now *rules, purposes, listed []string) (fields []string, rule string) {
	reach := []string{}
	for _, f := range append(fieldNames(s), documentsField) {
		if slices.ContainsFunc(purposes, func(name string) bool {
			p, _ := now.purposes.Get(name)
			return reaches(p, f)
		}) {
			reach = append(reach, f)
		}
	}
	if len(listed) == 0 {
		return reach, ""
	}
	if !eachOnce(listed) || slices.ContainsFunc(listed, func(f string) bool { return !slices.Contains(reach, f) }) {
		return nil, "fields that the purposes reach, each once"
	}
	return slices.Clone(listed), ""
}

func fieldNames(s *Service) []string {
	var names []string
	for _, f := range s.Schema.Fields() {
		names = append(names, f.Name)
	}
	return names
}

func reaches(p *purpose.Purpose, field string) bool {
	if field == documentsField {
		return p.AllowsDocuments()
	}
	return p.Allows(field)
}
