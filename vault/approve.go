package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// decision is what a verdict on a waiting erasure comes to: it changes the erasure's row at once, and the person's inside
// the Update.
type decision func(w store.Writer, inside *change) error

// ApproveErasure is a second person's word that the erasure may go on. A digest in the request says what they were shown;
// an approval of anything else is refused. See vote for whose word counts.
func (s *Service) ApproveErasure(ctx context.Context, call Call, erasure string, req *api.ErasureApproval) (*api.Erasure, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Erasure, error) { return s.approveErasure(ctx, call, erasure, req) })
}

func (s *Service) approveErasure(ctx context.Context, call Call, erasure string, req *api.ErasureApproval) (*api.Erasure, error) {
	return s.decideErasure(ctx, call, access.ApproveErasure, erasure, func(who *person, id ErasureID, row *erasureRow) (decision, *fault.Error, error) {
		if refusal, err := s.vote(ctx, call.Principal, &row.Ballot, req.Digest); err != nil || refusal != nil {
			return nil, refusal, err
		}
		if row.Ballot.missing() > 0 {
			return func(store.Writer, *change) error { return nil }, nil, nil
		}
		if blocked := unerasable(withoutErasure(who.row), row.Slices...); blocked != nil {
			return nil, blocked, nil
		}
		now := stampOf(s.Clock())
		row.State = api.ErasureErasing
		row.At[string(api.ErasureApproved)], row.At[string(api.ErasureErasing)] = now, now
		return func(w store.Writer, inside *change) error { return s.enterErasing(w, inside, id, *row) }, nil, nil
	})
}

// withoutErasure is the row as if the erasure in question were not waiting.
func withoutErasure(row *subject) *subject {
	other := *row
	other.Erasure = ErasureID{}
	return &other
}

// CancelErasure takes back an erasure that has not begun to destroy.
func (s *Service) CancelErasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Erasure, error) { return s.cancelErasure(ctx, call, erasure) })
}

func (s *Service) cancelErasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	return s.decideErasure(ctx, call, access.CancelErasure, erasure, func(_ *person, _ ErasureID, row *erasureRow) (decision, *fault.Error, error) {
		return s.cancelled(row), nil, nil
	})
}

// cancelled has an erasure that waits be cancelled, and returns what that changes of the person.
func (s *Service) cancelled(row *erasureRow) decision {
	row.State = api.ErasureCancelled
	row.At[string(api.ErasureCancelled)] = stampOf(s.Clock())
	return func(_ store.Writer, inside *change) error {
		inside.row.Erasure = ErasureID{}
		inside.row.Blocks = slices.DeleteFunc(inside.row.Blocks, func(b block) bool { return b.Kind == blockErasure })
		inside.decided()
		return nil
	}
}

// decideErasure changes an erasure that waits for approval.
func (s *Service) decideErasure(ctx context.Context, call Call, a access.Action, erasure string, decide func(*person, ErasureID, *erasureRow) (decision, *fault.Error, error)) (*api.Erasure, error) {
	r := access.Request{Action: a}
	ctx = store.With(ctx, store.Vital)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var answer *api.Erasure
	err := s.onceIfPossible(ctx, call, a, func(o *once) (err error) {
		var who *person
		tried := false
		defer func() {
			if tried {
				// Whatever the answer: what seems to have failed may have been written.
				if told := s.cut(ctx, who); err == nil {
					err = told
				}
				s.wake()
			}
		}()
		_, err = s.act(ctx, call, func() (d deed, err error) {
			id, row, met, err := s.meetErasure(ctx, call, r, erasure)
			if err != nil {
				return d, err
			}
			who = met
			d = deed{request: r}
			d.request.Subject, d.entry.Objects, d.entry.Digest = who.id.String(), row.objects(id), row.Ballot.digest()
			if e := o.earlier(0); e != nil {
				if e.Object != id {
					d.request.Refusal = errAnotherCall()
				}
				answer = s.erasureWire(call.Principal, id, row)
				if d.request.Refusal == nil {
					err = s.tellOf(ctx, row)
				}
				return d, err
			}
			if row.State != api.ErasureRequested {
				d.request.Refusal = conflict("erasure", "it is not waiting for approval: it is "+string(row.State))
				return d, nil
			}
			before := encodeRow(row)
			late, refusal, err := decide(who, id, row)
			if err != nil || refusal != nil {
				d.request.Refusal = refusal
				return d, err
			}
			c := s.lateChange(who, late)
			c.expect(s.rows.erasure(id), before)
			if row.State != api.ErasureErasing { // entering that state writes the row
				c.set(s.rows.erasure(id), encodeRow(row))
			}
			if row.State != api.ErasureRequested {
				c.delete(s.rows.waiting(waitingErasure, id))
			}
			o.keep(&c.draft, 0, done{Subject: who.id, Object: id})
			d.effect, answer = &c.draft, s.erasureWire(call.Principal, id, row)
			tried = true
			return d, nil
		})
		return err
	})
	return answer, err
}
