package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// An access review looks at a period of this length and at so many entries of the log, at most, and remembers so many people
// (audit.NewTally).
const (
	maxReviewed = 366 * 24 * time.Hour
	maxEntries  = 5_000_000
	maxTallied  = 1_000_000
)

// ReviewAccess tells who could see what in a period, by the service tokens of then and the policies of now, and who did, by
// the log. Staff whom an issuer names appear once they have done something: the vault keeps no list of them.
func (s *Service) ReviewAccess(ctx context.Context, call Call, from, to time.Time) (*api.AccessReview, error) {
	return underRules(ctx, s, call, func(call Call) (*api.AccessReview, error) { return s.reviewAccess(ctx, call, from, to) })
}

func (s *Service) reviewAccess(ctx context.Context, call Call, from, to time.Time) (*api.AccessReview, error) {
	if to.IsZero() {
		to = s.Clock().UTC()
	}
	if from.IsZero() {
		from = to.AddDate(0, -1, 0)
	}
	if !from.Before(to) || to.Sub(from) > maxReviewed {
		return nil, fault.Bad("from", fmt.Sprintf("before to, by %d days at most", maxReviewed/(24*time.Hour)))
	}
	if err := s.consult(ctx, call, access.ReviewAccess); err != nil {
		return nil, err
	}
	review := &api.AccessReview{From: from, To: to, Could: []api.CouldSee{}, Did: []api.DidSee{}}
	var err error
	if review.Could, err = s.couldSee(ctx, call.rules, from, to); err != nil {
		return nil, err
	}
	return review, s.didSee(ctx, review)
}

// couldSee lists the principals of the service tokens that were good at some time between from and to.
func (s *Service) couldSee(ctx context.Context, now *rules, from, to time.Time) ([]api.CouldSee, error) {
	all := map[string]*api.CouldSee{}
	prefix := s.rows.key(kindCredential)
	err := s.Store.View(ctx, func(r store.Reader) error {
		clear(all)
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := decodeRow[credentialRow](p.Value)
			if err != nil || row.endedBefore(from) || !row.Created.time().Before(to) {
				return err
			}
			used, err := s.lastUsed(r, CredentialID(p.Key[len(prefix):]))
			if err != nil {
				return err
			}
			kind := strings.Join(append([]string{row.System, string(row.Role), row.Department}, row.Systems...), "/")
			one := all[kind]
			if one == nil {
				one = &api.CouldSee{System: row.System, Role: string(row.Role), Systems: row.Systems, Department: row.Department}
				all[kind] = one
			}
			one.Tokens++
			if used.After(one.LastUsedAt) {
				one.LastUsedAt = used
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	could := make([]api.CouldSee, 0, len(all))
	for _, kind := range sortedKeys(all) {
		all[kind].May = s.mayRead(ctx, now, all[kind])
		could = append(could, *all[kind])
	}
	return could, nil
}

// endedBefore reports that the token was over before a time.
func (r *credentialRow) endedBefore(at time.Time) bool {
	over := func(s stamp) bool { return s != 0 && s.time().Before(at) }
	return over(r.Revoked) || over(r.Expires)
}

// mayRead asks the policies about each way of reading each category.
func (s *Service) mayRead(ctx context.Context, now *rules, who *api.CouldSee) []api.MayRead {
	may := []api.MayRead{}
	p := access.Principal{
		Tenant: s.Tenant, System: who.System, Roles: []access.Role{access.Role(who.Role)}, Department: who.Department,
		Systems: who.Systems, AllSystems: who.Systems == nil,
	}
	for _, category := range s.fieldsByCategory() {
		for _, a := range []access.Action{access.Detokenize, access.Reveal, access.OpenDocument} {
			if (a == access.OpenDocument) != slices.Equal(category.fields, []string{documentsField}) {
				continue
			}
			d := now.gate.Decide(ctx, access.Request{
				Principal: p, Action: a, Fields: category.fields, Form: access.Allowed, Count: 1, State: string(api.StateActive), Basis: "consent",
			})
			if d.Allowed() {
				may = append(may, api.MayRead{Operation: string(a), Category: category.name, Form: api.Form(d.Form)})
			}
		}
	}
	return may
}

// category is the fields of one category of the schema.
type category struct {
	name   string
	fields []string
}

func (s *Service) fieldsByCategory() []category {
	var all []category
	for _, f := range s.Schema.Fields() {
		at := slices.IndexFunc(all, func(c category) bool { return c.name == string(f.Category) })
		if at < 0 {
			at = len(all)
			all = append(all, category{name: string(f.Category)})
		}
		all[at].fields = append(all[at].fields, f.Name)
	}
	return append(all, category{"document", []string{documentsField}})
}

// didSee counts the log's entries of the period, some thousands at a time, so that no snapshot is held for long. It stops
// where it has read too many, or knows too many people: one review at a time is made, so that is all the memory they take.
func (s *Service) didSee(ctx context.Context, review *api.AccessReview) error {
	select {
	case s.reviewing <- struct{}{}:
		defer func() { <-s.reviewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tally := audit.NewTally(maxTallied)
	until, err := s.tallyLog(ctx, tally, review.From, review.To)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		review.Limit = &api.ReviewLimit{Until: until}
	}
	for _, one := range tally.Sums() {
		review.Did = append(review.Did, api.DidSee(one))
	}
	return nil
}

// tallyLog counts entries until there are no more, and tells the time of the first that is not counted; zero when all are.
func (s *Service) tallyLog(ctx context.Context, tally *audit.Tally, from, to time.Time) (until time.Time, err error) {
	const step = 5000
	prefix := s.rows.key(kindAudit)
	at := func(t time.Time) []byte {
		first := audit.FirstID(t)
		return append(bytes.Clone(prefix), first[:]...)
	}
	after, end := at(from), at(to)
	for read := 0; ; {
		var pairs []store.Pair
		err := s.Store.View(ctx, func(r store.Reader) (err error) {
			pairs, err = r.Scan(prefix, after, step)
			for i := range pairs {
				pairs[i] = store.Pair{Key: bytes.Clone(pairs[i].Key), Value: bytes.Clone(pairs[i].Value)}
			}
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
		for _, p := range pairs {
			if bytes.Compare(p.Key, end) >= 0 {
				return time.Time{}, nil
			}
			var e audit.Entry
			if err := json.Unmarshal(p.Value, &e); err != nil {
				return time.Time{}, errors.New("an audit entry in the store is damaged")
			}
			if read++; read > maxEntries || e.System != itself && !tally.Add(&e) { // the vault's own work is nobody's
				return audit.ID(p.Key[len(prefix):]).Time(), nil
			}
			after = p.Key
		}
		if len(pairs) < step {
			return time.Time{}, nil
		}
	}
}
