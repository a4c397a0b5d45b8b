package vault

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// waitingKind is a sort of thing that waits for somebody's word. The letters are in the store: under kindWaiting there is a
// row for each thing that waits, written and deleted in the Update that makes it wait or decides it.
type waitingKind byte

const (
	waitingErasure   waitingKind = 'e'
	waitingEmergency waitingKind = 'b'
	waitingChange    waitingKind = 'c'
)

// waiter is how the list shows a sort of thing, and what the sweeper does when it lapses.
type waiter struct {
	kind   waitingKind
	prefix string // of its ids as text
	// show is nil for what the caller may not know of, or what does not wait any more.
	show func(*Service, store.Reader, access.Principal, [16]byte) (*api.Waiting, error)
	// lapse ends what was not agreed to in time, if that is so. It may be called again. nil: it waits for ever.
	lapse func(s *Service, ctx context.Context, thing [16]byte, now time.Time) error
}

// waiters lists every sort, in the order of the list.
func waiters() []waiter {
	return []waiter{
		{waitingErasure, erasurePrefix, (*Service).waitingErasure, (*Service).lapseErasure},
		{waitingEmergency, emergencyPrefix, (*Service).waitingEmergency, nil},
		{waitingChange, changePrefix, (*Service).changeWaiting, (*Service).lapseChange},
	}
}

// waiting is what a ballot says of the thing that it is about.
func (b *ballot) waiting(id, kind string) *api.Waiting {
	w := &api.Waiting{ID: id, Kind: kind, RequestedBy: b.System, Expires: b.Until.time(), Missing: b.missing()}
	if len(b.Digest) > 0 {
		w.Digest = b.digest()
	}
	for _, r := range b.Roles {
		w.Roles = append(w.Roles, string(r))
	}
	return w
}

// Waiting lists everything that waits for somebody's word and that the caller may know of.
func (s *Service) Waiting(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.Waiting], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.Waiting], error) { return s.listAllWaiting(ctx, call, limit, cursor) })
}

func (s *Service) listAllWaiting(ctx context.Context, call Call, limit int, cursor string) (*api.Page[api.Waiting], error) {
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	from, after, err := s.waitingAfter(cursor)
	if err != nil {
		return nil, err
	}
	if err := s.consult(ctx, call, access.ListApprovals); err != nil {
		return nil, err
	}
	page := &api.Page[api.Waiting]{Items: []api.Waiting{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		page.Items, page.NextCursor = page.Items[:0], ""
		for _, w := range waiters()[from:] {
			if err := s.listWaiting(r, call.Principal, w, after, limit, page); err != nil || page.NextCursor != "" {
				return err
			}
			after = nil
		}
		return nil
	})
	return page, err
}

// waitingAfter reads a cursor: the id of the last thing listed.
func (s *Service) waitingAfter(cursor string) (from int, after []byte, err error) {
	if cursor == "" {
		return 0, nil, nil
	}
	for i, w := range waiters() {
		if thing, err := id.Decode(w.prefix, cursor); err == nil {
			return i, s.rows.waiting(w.kind, thing), nil
		}
	}
	return 0, nil, fault.Bad("cursor", ruleUnknown)
}

// listWaiting adds the things of one sort to a page until it is full. Then the page says where to go on.
func (s *Service) listWaiting(r store.Reader, caller access.Principal, w waiter, after []byte, limit int, page *api.Page[api.Waiting]) error {
	prefix := s.rows.key(kindWaiting, []byte{byte(w.kind)})
	for {
		pairs, err := r.Scan(prefix, after, limit)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if len(page.Items) == limit {
				page.NextCursor = page.Items[limit-1].ID
				return nil
			}
			shown, err := w.show(s, r, caller, [16]byte(p.Key[len(prefix):]))
			if err != nil {
				return err
			}
			if shown != nil {
				page.Items = append(page.Items, *shown)
			}
		}
		if len(pairs) < limit {
			return nil
		}
		after = pairs[len(pairs)-1].Key
	}
}

// sweepLapsed ends what was not agreed to in time.
func (s *Service) sweepLapsed(ctx context.Context) error {
	now := s.Clock()
	var failed []error
	for _, w := range waiters() {
		if w.lapse == nil {
			continue
		}
		things, err := s.waitingOf(ctx, w.kind)
		if err != nil {
			return err
		}
		for _, thing := range things {
			failed = append(failed, w.lapse(s, ctx, thing, now))
		}
	}
	return errors.Join(failed...)
}

func (s *Service) waitingOf(ctx context.Context, k waitingKind) (things [][16]byte, err error) {
	prefix := s.rows.key(kindWaiting, []byte{byte(k)})
	err = s.Store.View(ctx, func(r store.Reader) error {
		things = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			things = append(things, [16]byte(p.Key[len(prefix):]))
			return nil
		})
	})
	return things, err
}
