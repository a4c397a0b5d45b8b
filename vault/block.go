package vault

import (
	"context"
	"errors"
	"maps"
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
// block that the system has placed already changes nothing and is recorded.
func (s *Service) Block(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Subject, error) { return s.block(ctx, call, subject, req) })
}

func (s *Service) block(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	return s.changeBlocks(ctx, call, access.Block, subject, req, func(who *person) (func(*change), *fault.Error) {
		if slices.ContainsFunc(who.row.Blocks, func(b block) bool { return b.Kind == req.Kind && b.System == call.Principal.System }) {
			return nil, nil
		}
		return func(c *change) {
			c.row.Blocks = append(c.row.Blocks, block{req.Kind, req.Reason, stampOf(s.Clock()), call.Principal.System})
		}, nil
	})
}

// Unblock lifts the blocks of one kind. Other kinds stand. A system lifts what it placed; staff lift all.
func (s *Service) Unblock(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Subject, error) { return s.unblock(ctx, call, subject, req) })
}

func (s *Service) unblock(ctx context.Context, call Call, subject string, req *api.BlockRequest) (*api.Subject, error) {
	return s.changeBlocks(ctx, call, access.Unblock, subject, req, func(who *person) (func(*change), *fault.Error) {
		ofKind := func(b block) bool { return b.Kind == req.Kind }
		lifted := func(b block) bool {
			return ofKind(b) && (b.System == call.Principal.System || call.Principal.VaultWide())
		}
		switch {
		case !slices.ContainsFunc(who.row.Blocks, ofKind):
			return nil, conflict("kind", "no block of this kind stands")
		case !slices.ContainsFunc(who.row.Blocks, lifted):
			return nil, fault.New(fault.Denied, "somebody else placed this block")
		}
		return func(c *change) { c.row.Blocks = slices.DeleteFunc(c.row.Blocks, lifted) }, nil
	})
}

// changeBlocks makes the change that decide comes to, inside the Update, so that no other writer can hold a block up.
func (s *Service) changeBlocks(ctx context.Context, call Call, a access.Action, subject string, req *api.BlockRequest, decide func(*person) (func(*change), *fault.Error)) (*api.Subject, error) {
	if err := checkOneOf("kind", req.Kind, blockKinds...); err != nil {
		return nil, err
	}
	if err := checkCode("reason", req.Reason); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Vital)
	r := access.Request{Action: a, Reason: req.Reason}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var after *api.Subject
	err := s.onceIfPossible(ctx, call, a, func(o *once) (err error) {
		var who *person
		tried := false
		defer func() {
			if tried && a == access.Block {
				// Whatever the answer: a block that seems to have failed may have been written.
				if told := s.cut(ctx, who); err == nil {
					err = told
				}
			}
		}()
		_, err = s.act(ctx, call, func() (d deed, err error) {
			if who, err = s.meet(ctx, call, r, subject, nil); err != nil {
				return d, err
			}
			d = deed{request: r}
			d.request.Subject, d.entry.Kind = who.id.String(), req.Kind
			d.effect, d.request.Refusal = s.blockEffect(who, o, decide)
			tried = tried || d.request.Refusal == nil // also one that was made before: not all may have been told
			return d, nil
		})
		if err != nil {
			return err
		}
		after, err = s.view(ctx, call, who.id)
		if errors.Is(err, fault.Erased) { // an erasure has overtaken what was done
			after, err = &api.Subject{Subject: who.name(call.Principal), State: api.StateErased}, nil
		}
		return err
	})
	return after, err
}

// blockEffect drafts the change, unless it is refused or there is nothing to change.
func (s *Service) blockEffect(who *person, o *once, decide func(*person) (func(*change), *fault.Error)) (*draft, *fault.Error) {
	if e := o.earlier(0); e != nil {
		if e.Subject != who.id {
			return nil, errAnotherCall()
		}
		return nil, nil // done before: recorded again and not done again
	}
	if who.row.state != stateActive {
		return nil, fault.New(fault.Erased, "this person is erased")
	}
	f, refusal := decide(who)
	if refusal != nil {
		return nil, refusal
	}
	c := s.lateChange(who, func(_ store.Writer, inside *change) error {
		if f != nil {
			f(inside)
			inside.decided()
		}
		return nil
	})
	o.keep(&c.draft, 0, done{Subject: who.id})
	return &c.draft, nil
}

// cut makes a committed block or erasure felt on every node: the person's keys are forgotten and what is being streamed ends, up
// and down. No answer that acknowledges the change may go out before it. It goes on when the caller's context has ended.
func (s *Service) cut(ctx context.Context, who *person) error {
	if who == nil {
		return nil
	}
	notice := &noticeRow{Subject: who.id, Keys: slices.Collect(maps.Values(who.row.Keys)), Streams: true}
	return s.tell(context.WithoutCancel(ctx), notice)
}
