package vault

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
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
