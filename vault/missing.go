package vault

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// lostKeys is whether a living person's key was found to be missing, or withheld, since the sweeper last told of it.
type lostKeys struct{ seen, withheld atomic.Bool }

// missed counts a living person's key that is not at the provider, and has an alert raised.
func (s *Service) missed() {
	s.Observer.MissingKey()
	s.lost.seen.Store(true)
}

// tellMissing raises the alerts of what was missed and of what is withheld. Causes of one minute are one alert.
func (s *Service) tellMissing(ctx context.Context) error {
	return errors.Join(
		s.tellIf(ctx, &s.lost.seen, alertMissingKey, opMissingKeys),
		s.tellIf(ctx, &s.lost.withheld, alertWithheldKey, opCheckKeys),
	)
}

// tellIf raises an alert if it was seen that there is cause to.
func (s *Service) tellIf(ctx context.Context, seen *atomic.Bool, kind, operation string) error {
	if !seen.Swap(false) {
		return nil
	}
	d := &draft{}
	raise := s.alert(d, api.Alert{Kind: kind, System: itself, Operation: operation})
	if _, err := commit(ctx, s.Store, d); err != nil {
		seen.Store(true)
		return err
	}
	raise()
	return nil
}

// What alerts of keys name: how to see whose are missing, and what the provider is set to.
const (
	opMissingKeys = "keys.missing"
	opCheckKeys   = "keys.check"
)

// MissingKeys lists living people whose keys the provider does not have. Nothing is concluded from that: a missing key is no
// erasure. It looks at so many people as the limit says; the page may be empty and still go on.
func (s *Service) MissingKeys(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.MissingKey], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.MissingKey], error) {
		return s.missingKeys(ctx, call, limit, cursor)
	})
}

func (s *Service) missingKeys(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.MissingKey], error) {
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	after, err := s.afterSubject(cursor)
	if err != nil {
		return nil, err
	}
	if err := s.consult(ctx, call, access.ConfirmSnapshot); err != nil {
		return nil, err
	}
	people, err := s.living(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	gone, err := s.gone(ctx, people)
	if err != nil {
		return nil, edge(err)
	}
	page := &api.Page[api.MissingKey]{Items: []api.MissingKey{}}
	if len(people) == limit {
		page.NextCursor = people[limit-1].id.String()
	}
	still, err := s.stillThere(ctx, people, gone)
	if err != nil {
		return nil, err
	}
	page.Items = append(page.Items, still...)
	if len(still) > 0 {
		s.missed()
	}
	return page, nil
}

// keyHolder is somebody and their keys; nobody's keys are looked for when they are erased.
type keyHolder struct {
	id   SubjectID
	keys map[string]kms.ID // slice → key
}

// living reads the next so many people.
func (s *Service) living(ctx context.Context, after []byte, limit int) (people []keyHolder, err error) {
	prefix := s.rows.key(kindSubject)
	err = s.Store.View(store.With(ctx, store.Reading), func(r store.Reader) error {
		people = people[:0]
		pairs, err := r.Scan(prefix, after, limit)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			row, err := decodeSubject(bytes.Clone(p.Value))
			if err != nil {
				return err
			}
			who := keyHolder{id: SubjectID(p.Key[len(prefix):])}
			if row.state == stateActive {
				who.keys = row.Keys
			}
			people = append(people, who)
		}
		return nil
	})
	return people, err
}

// gone are the keys of people that the provider does not have.
func (s *Service) gone(ctx context.Context, people []keyHolder) (map[kms.ID]bool, error) {
	var ids []kms.ID
	for _, who := range people {
		ids = slices.AppendSeq(ids, maps.Values(who.keys))
	}
	gone := map[kms.ID]bool{}
	for some := range slices.Chunk(ids, destroysAtOnce) {
		keys, err := s.Keys.Open(ctx, some...)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if k.Missing() {
				gone[k.ID] = true
			}
			k.Secret.Wipe()
		}
	}
	return gone, nil
}

// stillThere tells who of those whose keys are gone is living yet: an erasure may have come between.
func (s *Service) stillThere(ctx context.Context, people []keyHolder, gone map[kms.ID]bool) (found []api.MissingKey, err error) {
	err = s.Store.View(store.With(ctx, store.Reading), func(r store.Reader) error {
		found = found[:0]
		for _, who := range people {
			if !slices.ContainsFunc(slices.Collect(maps.Values(who.keys)), func(k kms.ID) bool { return gone[k] }) {
				continue
			}
			rows, err := r.Get(s.rows.subject(who.id))
			if err != nil || rows[0] == nil {
				return err
			}
			now, err := decodeSubject(rows[0])
			if err != nil {
				return err
			}
			var lost []string
			for slice, key := range now.Keys {
				if now.state == stateActive && gone[key] {
					lost = append(lost, slice)
				}
			}
			if len(lost) > 0 {
				slices.Sort(lost)
				found = append(found, api.MissingKey{Subject: who.id.String(), Slices: lost})
			}
		}
		return nil
	})
	return found, err
}
