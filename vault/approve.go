package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// ApproveErasure is a second person's word that the erasure may go on. Nobody approves what they requested.
func (s *Service) ApproveErasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	resp, err := s.decideErasure(ctx, call, access.ApproveErasure, erasure, func(c *change, id ErasureID, row *erasureRow) error {
		by := call.Principal.Credential
		if row.By == by || slices.Contains(row.Approvals, by) {
			return fault.New(fault.Denied, "somebody else has to approve")
		}
		row.Approvals = append(row.Approvals, by)
		if len(row.Approvals) < row.Needed {
			return nil
		}
		if blocked := unerasable(withoutErasure(&c.row)); blocked != nil {
			return blocked
		}
		row.At[string(api.ErasureApproved)] = stampOf(s.Clock())
		return s.enterErasing(ctx, c, id, row)
	})
	return resp, edge(err)
}

// withoutErasure is the row as if the erasure in question were not waiting.
func withoutErasure(row *subject) *subject {
	other := *row
	other.Erasure = ErasureID{}
	return &other
}

// CancelErasure takes back an erasure that has not begun to destroy.
func (s *Service) CancelErasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	resp, err := s.decideErasure(ctx, call, access.CancelErasure, erasure, func(c *change, _ ErasureID, row *erasureRow) error {
		row.State = api.ErasureCancelled
		row.At[string(api.ErasureCancelled)] = stampOf(s.Clock())
		c.row.Erasure = ErasureID{}
		c.row.Blocks = slices.DeleteFunc(c.row.Blocks, func(b block) bool { return b.Kind == blockErasure })
		c.decided()
		return nil
	})
	return resp, edge(err)
}

// decideErasure changes an erasure that waits for approval.
func (s *Service) decideErasure(ctx context.Context, call Call, a access.Action, erasure string, f func(*change, ErasureID, *erasureRow) error) (*api.Erasure, error) {
	r := access.Request{Action: a}
	ctx = store.With(ctx, store.Vital)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var answer *api.Erasure
	err := s.onceIfPossible(ctx, call, a, func(o *once) error {
		var who *person
		_, err := s.act(ctx, call, func() (d deed, err error) {
			id, row, met, err := s.meetErasure(ctx, call, r, erasure)
			if err != nil {
				return d, err
			}
			who = met
			d = deed{request: r}
			d.request.Subject, d.entry.Objects = who.id.String(), []string{id.String()}
			if o.earlier(0) != nil {
				answer = s.erasureWire(call.Principal, id, row)
				return d, nil
			}
			if row.State != api.ErasureRequested {
				d.request.Refusal = conflict("erasure", "it is not waiting for approval: it is "+string(row.State))
				return d, nil
			}
			c := s.changed(who)
			if err := f(c, id, row); err != nil {
				d.request.Refusal = fault.From(edge(err))
				return d, nil
			}
			c.set(s.rows.erasure(id), encodeRow(row))
			o.keep(&c.draft, 0, done{Subject: who.id, Object: id})
			d.effect, answer = s.done(c), s.erasureWire(call.Principal, id, row)
			return d, nil
		})
		if err == nil {
			s.cut(who)
			s.wake()
		}
		return err
	})
	return answer, err
}
