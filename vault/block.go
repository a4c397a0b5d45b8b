package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// blockErasure is the kind of block that an erasure waiting for approval places; nobody places or lifts it by hand.
const blockErasure = "erasure_pending"

var blockKinds = []string{"dispute", "unlawful", "other"}

// Block stops processing of a person: no reading that begins after the answer discloses anything. It needs no keys. A
// block of a kind that stands already changes nothing and is recorded.
func (s *Service) Block(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	resp, err := s.changeBlocks(ctx, call, access.Block, subject, req, func(c *change) error {
		standing := slices.ContainsFunc(c.row.Blocks, func(b block) bool { return b.Kind == req.Kind })
		if !standing {
			c.row.Blocks = append(c.row.Blocks, block{req.Kind, req.Reason, stampOf(s.Clock())})
			c.decided()
		}
		return nil
	})
	return resp, edge(err)
}

// Unblock lifts the block of one kind. Other kinds stand.
func (s *Service) Unblock(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	resp, err := s.changeBlocks(ctx, call, access.Unblock, subject, req, func(c *change) error {
		left := slices.DeleteFunc(slices.Clone(c.row.Blocks), func(b block) bool { return b.Kind == req.Kind })
		if len(left) == len(c.row.Blocks) {
			return conflict("kind", "no block of this kind stands")
		}
		c.row.Blocks = left
		c.decided()
		return nil
	})
	return resp, edge(err)
}

func (s *Service) changeBlocks(ctx context.Context, call Call, a access.Action, subject string, req *api.BlockRequest, f func(*change) error) (*api.Subject, error) {
	if err := checkOneOf("kind", req.Kind, blockKinds...); err != nil {
		return nil, err
	}
	if err := checkCode("reason", req.Reason); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Vital)
	r := access.Request{Action: a, Reason: req.Reason}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	var after *api.Subject
	return after, s.onceIfPossible(ctx, call, a, func(o *once) error {
		var who *person
		_, err := s.act(ctx, call, func() (d deed, err error) {
			if who, err = s.meet(ctx, call, r, subject, nil); err != nil {
				return d, err
			}
			d = deed{request: r}
			d.request.Subject, d.entry.Kind = who.id.String(), req.Kind
			if who.row.state != stateActive {
				d.request.Refusal = fault.New(fault.Erased, "this person is erased")
				return d, nil
			}
			if o.earlier(0) != nil {
				return d, nil // done before: recorded again and not done again
			}
			c := s.changed(who)
			if err := f(c); err != nil {
				d.request.Refusal = fault.From(err)
				return d, nil
			}
			o.keep(&c.draft, 0, done{Subject: who.id})
			d.effect = s.done(c)
			return d, nil
		})
		if err != nil {
			return err
		}
		s.cut(who)
		after, err = s.view(ctx, call, who.id)
		return err
	})
}

// cut makes a committed block or erasure felt: it forgets the person's keys and ends what is being streamed. No answer
// that acknowledges the change may go out before it.
func (s *Service) cut(who *person) {
	for _, k := range who.row.Keys {
		s.keyring.Purge(k)
	}
	s.handles.cut(who.id)
}
