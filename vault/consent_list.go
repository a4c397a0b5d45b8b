package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// ListConsents lists a person's consents, the first given first: to a system those that it recorded itself. It works while the
// keys are away, without what is sealed.
func (s *Service) ListConsents(ctx context.Context, call Call, subject string) (*api.Page[api.Consent], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.Consent], error) { return s.consents(ctx, call, subject) })
}

// listedConsent is a consent on its way out.
type listedConsent struct {
	id  ConsentID
	row *consentRow
}

func (s *Service) consents(ctx context.Context, call Call, subject string) (*api.Page[api.Consent], error) {
	r := access.Request{Action: access.ListConsents}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	var who *person
	var found []listedConsent
	var permit permit
	outcome, err := s.act(ctx, call, func() (d deed, err error) {
		permit = s.keyring.Permit()
		who, err = s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) error {
			found = nil
			return s.eachConsent(rd, who.id, func(c ConsentID, row *consentRow) error {
				if call.Principal.VaultWide() || row.System == call.Principal.System {
					found = append(found, listedConsent{c, row})
				}
				return nil
			})
		})
		if err != nil {
			return d, err
		}
		d = deed{request: r, effect: &draft{}}
		d.request.Subject, d.request.State = who.id.String(), string(who.row.wire())
		d.entry.Items = len(found)
		d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
		if who.row.state != stateActive {
			d.request.Refusal = fault.New(fault.Erased, "this person is erased")
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b listedConsent) int { return int(a.row.Given - b.row.Given) })
	page := &api.Page[api.Consent]{Items: make([]api.Consent, len(found))}
	for i, c := range found {
		page.Items[i] = *s.consentWire(call.rules, c.id, c.row)
	}
	return page, s.showEvidence(ctx, permit, outcome.grant, who, found, page.Items)
}

// showEvidence opens what the consents can be shown by. What cannot be had is left out and said to be there.
func (s *Service) showEvidence(ctx context.Context, p permit, g access.Grant, who *person, found []listedConsent, out []api.Consent) error {
	var things []wanted
	for _, c := range found {
		if c.row.Evidence != nil && !who.row.fades(c.row.Key) {
			things = append(things, wanted{g, who.id, c.row.Key})
		}
	}
	if things == nil {
		return nil
	}
	keys, err := s.disclose(ctx, p, access.ListConsents, things)
	if err != nil {
		return err
	}
	defer keys.Close()
	for i, c := range found {
		if c.row.Evidence == nil || who.row.fades(c.row.Key) {
			continue
		}
		shown, err := s.openEvidence(keys, who.id, c)
		if keysAway(err) {
			out[i].Unavailable = true
			continue
		}
		if err != nil {
			return err
		}
		out[i].Evidence, out[i].Authority = shown.Reference, shown.Authority
	}
	return nil
}

// keysAway reports that a key is not to be had, for now or for good, rather than that what it seals is no good.
func keysAway(err error) bool {
	for _, why := range []error{kms.ErrUnavailable, kms.ErrWithheld, keyring.ErrPurged, keyring.ErrMissing} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

func (s *Service) openEvidence(keys *disclosed, subject SubjectID, c listedConsent) (*evidence, error) {
	key, err := keys.of(c.row.Key)
	if err != nil {
		return nil, err
	}
	plain, err := envelope.Open(key, s.context(sealedEvidence, subject, c.id.String(), 1), c.row.Evidence)
	if err != nil {
		return nil, fmt.Errorf("open the evidence of a consent: %w", err)
	}
	defer clear(plain)
	return decodeRow[evidence](plain)
}

// MissingConsents lists people whose data was collected for purposes that rest on consent, and of whom no consent to these is
// on record: those whom the mode enforce would refuse and observe lets pass. Purpose narrows it, when it is not empty.
func (s *Service) MissingConsents(ctx context.Context, call Call, purpose string, limit int, cursor string) (*api.Page[api.MissingConsent], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.MissingConsent], error) {
		return s.missingConsents(ctx, call, purpose, limit, cursor)
	})
}

func (s *Service) missingConsents(ctx context.Context, call Call, purpose string, limit int, cursor string) (*api.Page[api.MissingConsent], error) {
	if _, ok := call.rules.purposes.Get(purpose); purpose != "" && !ok {
		return nil, fault.Bad("purpose", ruleUnknown)
	}
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	after, err := s.afterSubject(cursor)
	if err != nil {
		return nil, err
	}
	if !call.Principal.VaultWide() {
		return nil, s.refuse(ctx, call, access.Request{Action: access.ListConsents}, fault.New(fault.Denied, "this list goes across systems"))
	}
	if err := s.consult(ctx, call, access.ListConsents); err != nil {
		return nil, err
	}
	page := &api.Page[api.MissingConsent]{}
	return page, s.Store.View(ctx, func(r store.Reader) error {
		page.Items, page.NextCursor = []api.MissingConsent{}, ""
		return s.scanMissing(r, call, purpose, limit, after, page)
	})
}

// afterSubject is the row after which a page of people begins: that of the last on the page before, whom the cursor names.
func (s *Service) afterSubject(cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	last, err := parseID(subjectPrefix, cursor)
	if err != nil {
		return nil, fault.Bad("cursor", ruleUnknown)
	}
	return s.rows.subject(last), nil
}

// scanMissing fills a page. Of a store full of people nobody of whom is missing anything it looks at so many only; the cursor
// goes on from there.
func (s *Service) scanMissing(r store.Reader, call Call, purpose string, limit int, after []byte, page *api.Page[api.MissingConsent]) error {
	const step = 200
	prefix := s.rows.key(kindSubject)
	last := SubjectID{}
	for scanned := 0; scanned < maxScanned; scanned += step {
		pairs, err := r.Scan(prefix, after, step)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if len(page.Items) == limit {
				page.NextCursor = last.String()
				return nil
			}
			last, after = SubjectID(p.Key[len(prefix):]), bytes.Clone(p.Key)
			missing, err := s.missing(r, call, last, p.Value, purpose)
			if err != nil {
				return err
			}
			if missing != nil {
				page.Items = append(page.Items, api.MissingConsent{Subject: last.String(), Purposes: missing})
			}
		}
		if len(pairs) < step {
			return nil
		}
	}
	page.NextCursor = last.String()
	return nil
}

// missing are the purposes for which a person's data was collected without a consent that they rest on.
func (s *Service) missing(r store.Reader, call Call, subject SubjectID, raw []byte, only string) ([]string, error) {
	row, err := decodeSubject(raw)
	if err != nil || row.state != stateActive {
		return nil, err
	}
	var missing []string
	for _, name := range row.Purposes {
		p, ok := call.rules.purposes.Get(name)
		if !ok || !p.Basis.Consent || only != "" && name != only || slices.ContainsFunc(row.bases, func(b basis) bool { return b.purpose == name }) {
			continue
		}
		missing = append(missing, name)
	}
	if missing == nil {
		return nil, nil
	}
	slices.SortFunc(missing, strings.Compare)
	sees, err := s.sees(r, call.Principal, &person{id: subject, row: row})
	if err != nil || !sees {
		return nil, err
	}
	return missing, nil
}
