package vault

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/store"
)

// maxConsents is how many consents of one person are recorded.
const maxConsents = 200

// The ways in which a consent may have come.
var channels = []string{"web_form", "paper", "state_service", "other"}

// Who may give a consent.
const (
	givenBySelf           = "self"
	givenByRepresentative = "representative"
)

// consentRow is a consent of a person: to what, for what, and what has become of it. It goes with the person; what must
// outlive them is in the proof, which the receipt finds.
type consentRow struct {
	Version      uint8     `cbor:"1,keyasint"` // of the record, from 1
	Text         string    `cbor:"2,keyasint"`
	Digests      digests   `cbor:"3,keyasint"`
	Purposes     []string  `cbor:"4,keyasint"`
	Fields       []string  `cbor:"5,keyasint"` // the data list, documents by documentsField
	Channel      string    `cbor:"6,keyasint"`
	GivenBy      string    `cbor:"7,keyasint"`
	Given        stamp     `cbor:"8,keyasint"`
	Expires      stamp     `cbor:"9,keyasint,omitempty"` // zero: it has no term
	Recorded     stamp     `cbor:"10,keyasint"`
	System       string    `cbor:"11,keyasint"` // who recorded it
	ThirdParties []string  `cbor:"12,keyasint,omitempty"`
	CrossBorder  bool      `cbor:"13,keyasint,omitempty"`
	Publication  bool      `cbor:"14,keyasint,omitempty"`
	Key          kms.ID    `cbor:"15,keyasint"` // of the evidence: the person's
	Evidence     []byte    `cbor:"16,keyasint,omitempty"`
	Receipt      ReceiptID `cbor:"17,keyasint"`
	Withdrawn    stamp     `cbor:"18,keyasint,omitempty"`
	Kept         []string  `cbor:"19,keyasint,omitempty"` // purposes that the withdrawal did not touch
	Stopped      []string  `cbor:"20,keyasint,omitempty"` // purposes that rest on nothing since the withdrawal
}

// evidence is what a consent can be shown by, sealed under the person's key.
type evidence struct {
	Reference string `cbor:"1,keyasint,omitempty"` // where the form itself is kept
	Authority string `cbor:"2,keyasint,omitempty"` // what a representative acted on
}

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

// ends tells until when a consent reaches for a purpose (math.MaxInt64: without a term), and whether a withdrawal ends it.
func (c *consentRow) ends(purpose string) (until stamp, withdrawn bool) {
	until = math.MaxInt64
	if c.Expires != 0 {
		until = c.Expires
	}
	if at := c.ended(purpose); at != 0 {
		return min(until, at), true
	}
	return until, false
}

// ended is when the person withdrew the consent to a purpose; zero when they did not.
func (c *consentRow) ended(purpose string) stamp {
	if !slices.Contains(c.Purposes, purpose) || slices.Contains(c.Kept, purpose) {
		return 0
	}
	return c.Withdrawn
}

// state is where a consent stands.
func (c *consentRow) state(now stamp) api.ConsentState {
	switch {
	case c.Withdrawn != 0:
		return api.ConsentWithdrawn
	case c.Expires != 0 && now >= c.Expires:
		return api.ConsentExpired
	default:
		return api.ConsentGiven
	}
}

// eachConsent calls f with every consent of a person.
func (s *Service) eachConsent(r store.Reader, subject SubjectID, f func(ConsentID, *consentRow) error) error {
	prefix := s.rows.of(kindConsent, subject)
	return scanAll(r, prefix, func(p store.Pair) error {
		row, err := decodeRow[consentRow](p.Value)
		if err != nil {
			return err
		}
		return f(ConsentID(p.Key[len(prefix):]), row)
	})
}

// basesWith tells what a person's consents come to when one of them is as row has it: for each purpose the one that
// reaches furthest, and of those that reach equally far the one that was given last.
func (s *Service) basesWith(r store.Reader, subject SubjectID, one ConsentID, row *consentRow) ([]basis, error) {
	best, given := map[string]basis{}, map[string]stamp{}
	reach := map[string]stamp{}
	take := func(c ConsentID, row *consentRow) error {
		for _, p := range row.Purposes {
			until, withdrawn := row.ends(p)
			before, ok := best[p]
			if ok && (until < reach[p] || until == reach[p] && (withdrawn || !before.withdrawn && row.Given < given[p])) {
				continue
			}
			best[p], reach[p] = basis{purpose: p, withdrawn: withdrawn, until: row.Expires, consent: c, version: row.Version}, until
			given[p] = row.Given
		}
		return nil
	}
	err := s.eachConsent(r, subject, func(c ConsentID, other *consentRow) error {
		if c == one {
			return nil
		}
		return take(c, other)
	})
	if err != nil {
		return nil, err
	}
	if err := take(one, row); err != nil {
		return nil, err
	}
	bases := make([]basis, 0, len(best))
	for _, b := range best {
		bases = append(bases, b)
	}
	slices.SortFunc(bases, func(a, b basis) int { return cmp.Compare(a.purpose, b.purpose) })
	if len(bases) > maxBases {
		return nil, fault.Newf(fault.TooLarge, "a person's consents are for %d purposes at most", maxBases)
	}
	return bases, nil
}

// consentOf finds a consent that the caller may know of: its own, and staff every one.
func (s *Service) consentOf(r store.Reader, caller access.Principal, who *person, text string) (ConsentID, *consentRow, error) {
	nothing := fault.New(fault.NotFound, "this person has no such consent")
	raw, err := id.Decode(consentPrefix, text)
	if err != nil {
		return ConsentID{}, nil, nothing
	}
	row, err := getRow[consentRow](r, s.rows.consent(who.id, raw))
	switch {
	case err != nil:
		return ConsentID{}, nil, err
	case row == nil || !caller.VaultWide() && row.System != caller.System:
		return ConsentID{}, nil, nothing
	}
	return raw, row, nil
}

// named is how the log and the policies know a consent.
func named(c ConsentID, version uint8) string { return fmt.Sprintf("%s@%d", c, version) }

// consentWire is a consent as callers see it.
func (s *Service) consentWire(now *rules, c ConsentID, row *consentRow) *api.Consent {
	out := &api.Consent{
		Consent: c.String(), Version: int(row.Version), State: row.state(stampOf(s.Clock())), Text: row.Text,
		SHA256: row.Digests.wire(), Purposes: row.Purposes, Fields: row.Fields, Channel: row.Channel, GivenAt: row.Given.time(),
		GivenBy: row.GivenBy, ExpiresAt: row.Expires.time(), RecordedAt: row.Recorded.time(), RecordedBy: row.System,
		ThirdParties: row.ThirdParties, CrossBorder: row.CrossBorder, Publication: row.Publication,
		WithdrawnAt: row.Withdrawn.time(), Stopped: row.Stopped,
	}
	for _, name := range row.Kept {
		kept := api.KeptUse{Purpose: name}
		if p, ok := now.purposes.Get(name); ok {
			kept.Citation = p.Obligation
		}
		out.Kept = append(out.Kept, kept)
	}
	return out
}

// newConsent is a consent about to be recorded.
type newConsent struct {
	id    ConsentID
	row   *consentRow
	bases []basis // the person's, with it
}

func errTooManyConsents() *fault.Error {
	return conflict("consent", fmt.Sprintf("at most %d of one person are recorded", maxConsents))
}

// bring makes the consent that an item brings, if it brings one, part of its plan.
func (s *Service) bring(r store.Reader, p *plan) error {
	given := p.item.consent
	p.consent = nil
	if given == nil {
		return nil
	}
	if p.person.row.Counts.Consents >= maxConsents {
		return errTooManyConsents()
	}
	row := given.row
	row.Recorded, row.Receipt = stampOf(s.Clock()), ReceiptID(id.New())
	member := "given_at"
	if p.item.request.Consent != nil { // it came with data
		member = "consent.given_at"
	}
	if err := s.revives(r, p.person.id, &row, member); err != nil {
		return err
	}
	c := &newConsent{id: ConsentID(id.New()), row: &row}
	var err error
	c.bases, err = s.basesWith(r, p.person.id, c.id, c.row)
	p.consent = c
	return err
}

// revives refuses a consent to a purpose that the person has withdrawn their consent to since it was given: they said the one
// thing and then the other, in whichever order it is brought. Member is what the request calls the moment.
func (s *Service) revives(r store.Reader, subject SubjectID, row *consentRow, member string) error {
	return s.eachConsent(r, subject, func(_ ConsentID, other *consentRow) error {
		if slices.ContainsFunc(row.Purposes, func(p string) bool { return row.Given < other.ended(p) }) {
			return conflict(member, "given before the person withdrew their consent to one of these purposes")
		}
		return nil
	})
}

// rest finds out what an item's use of its person's data rests on, with the consent that it brings.
func (s *Service) rest(r store.Reader, p *plan) error {
	if err := s.bring(r, p); err != nil {
		return err
	}
	if p.consent != nil {
		return s.restOn(p, p.consent.bases)
	}
	return s.restOn(p, p.person.row.bases)
}

// restOn finds out what an item's use of its person's data rests on. Without values there is no data to be used.
func (s *Service) restOn(p *plan, bases []basis) error {
	if len(p.item.fields) == 0 {
		return nil
	}
	of, ok := p.call.rules.purposes.Get(p.item.purpose)
	if !ok {
		return errors.New("a purpose that is not among the rules")
	}
	var refusal *fault.Error
	if p.footing, refusal = s.footing(of, bases); refusal != nil {
		return refusal
	}
	return nil
}

// withPlace tells of broken rules of a member inside another.
func withPlace(place string, broken []fault.Field) []fault.Field {
	for i := range broken {
		broken[i].Field = strings.Join([]string{place, broken[i].Field}, ".")
	}
	return broken
}
