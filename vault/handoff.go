package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// HandoffID is what one system gives to another so that this one gets tokens of its own. It is good once, for that system,
// for a short time; no value is read for it and no key is opened.
type HandoffID [16]byte

const handoffPrefix = "hnd_"

// handoffLife is how long a handoff may be redeemed.
const handoffLife = 10 * time.Minute

func (h HandoffID) String() string { return id.Encode(handoffPrefix, h) }

// handoffDigest is what the store knows a handoff by: whoever reads the store can't redeem what lies there.
type handoffDigest [sha256.Size]byte

func (h HandoffID) digest() handoffDigest { return sha256.Sum256(h[:]) }

// object is what the log calls a handoff, from which it can't be redeemed either.
func (d handoffDigest) object() string { return id.Encode("hof_", [16]byte(d[:16])) }

func (l layout) handoff(d handoffDigest) []byte { return l.key(kindHandoff, d[:]) }

// handoffRow is a handoff that was not redeemed yet.
type handoffRow struct {
	Subject SubjectID     `cbor:"1,keyasint"`
	From    string        `cbor:"2,keyasint"` // systems
	To      string        `cbor:"3,keyasint"`
	Purpose string        `cbor:"4,keyasint"`
	Values  []handedValue `cbor:"5,keyasint"` // in the order of fields and slots
	Until   stamp         `cbor:"6,keyasint"`
}

// likeHandoff is such a row as there could be, for seekRow.
var likeHandoff = encodeRow(handoffRow{
	Subject: SubjectID{1}, From: "crm", To: "billing", Purpose: "contract", Values: []handedValue{{Field: "given_name"}}, Until: 1 << 40,
})

// handedValue is one value that is handed off: the giver has a token of it.
type handedValue struct {
	Field string `cbor:"1,keyasint"`
	Slot  uint16 `cbor:"2,keyasint"`
}

// fields names what is handed off.
func (h *handoffRow) fields() []string {
	var names []string
	for _, v := range h.Values {
		if !slices.Contains(names, v.Field) {
			names = append(names, v.Field)
		}
	}
	return names
}

// CreateHandoff lets another system get tokens of its own of values that the calling system has tokens of.
func (s *Service) CreateHandoff(ctx context.Context, call Call, req *api.CreateHandoffRequest) (*api.Handoff, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Handoff, error) { return s.createHandoff(ctx, call, req) })
}

func (s *Service) createHandoff(ctx context.Context, call Call, req *api.CreateHandoffRequest) (*api.Handoff, error) {
	p, err := s.purposeNamed(ctx, call, access.CreateHandoff, req.Purpose)
	if err != nil {
		return nil, err
	}
	fields, err := s.fieldsNamed(req.Fields)
	if err != nil {
		return nil, err
	}
	switch {
	case !systemPattern.MatchString(req.ToSystem), req.ToSystem == itself:
		return nil, fault.Bad("to_system", ruleSystem)
	case req.ToSystem == call.Principal.System:
		return nil, fault.Bad("to_system", "another system")
	}
	r := access.Request{Action: access.CreateHandoff, Purpose: p.Name, Fields: req.Fields}
	if r.Behalf, err = s.behalf(ctx, req.OnBehalfOf); err != nil {
		return nil, err
	}
	h := &handoffRow{From: call.Principal.System, To: req.ToSystem, Purpose: p.Name}
	if r.Refusal = handingOff(call.rules, h); call.Principal.VaultWide() {
		r.Refusal = fault.New(fault.Denied, "only a system hands off, and only what it has tokens of")
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	handoff := HandoffID(id.New())
	_, err = s.act(ctx, call, func() (deed, error) {
		who, err := s.meet(ctx, call, r, req.Subject, func(rd store.Reader, who *person) (err error) {
			h.Values, err = s.handed(rd, who.id, h.From, fields)
			return err
		})
		if err != nil {
			return deed{}, err
		}
		h.Subject, h.Until = who.id, stampOf(s.Clock().Add(handoffLife))
		d := handoffDeed(r, h, handoff.digest(), h.To)
		d.effect = &draft{}
		d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
		d.effect.set(s.rows.handoff(handoff.digest()), encodeRow(h))
		if d.request.Refusal = s.stands(call.rules, &d.request, who.row); d.request.Refusal == nil {
			d.request.Refusal = use{Purpose: p}.outside(req.Fields...)
		}
		if d.request.Refusal == nil {
			d.request.Refusal = lacking(h, fields)
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Handoff{Handoff: handoff.String(), ExpiresAt: h.Until.time()}, nil
}

// handoffDeed is a deed about a handoff, as the log has it: with the system on the other side.
func handoffDeed(r access.Request, h *handoffRow, at handoffDigest, other string) deed {
	d := deed{request: r}
	d.request.Subject, d.request.Purpose, d.request.Fields = h.Subject.String(), h.Purpose, h.fields()
	d.entry.Objects, d.entry.Items, d.entry.Kind = []string{at.object()}, len(h.Values), other
	return d
}

// handed lists the values of fields that a system has tokens of.
func (s *Service) handed(r store.Reader, who SubjectID, system string, fields []*schema.Field) ([]handedValue, error) {
	var values []handedValue
	for _, f := range fields {
		issued, err := s.loadIssued(r, who, system, f.Name)
		if err != nil {
			return nil, err
		}
		for _, slot := range slices.Sorted(maps.Keys(issued)) {
			values = append(values, handedValue{f.Name, slot})
		}
	}
	return values, nil
}

// handingOff is what the rules say against a handoff, or nil: one of the two systems may not name the purpose, or the giver's
// registration does not name the other.
func handingOff(now *rules, h *handoffRow) *fault.Error {
	against := func(rule string) *fault.Error {
		return &fault.Error{
			Code: fault.Denied, Detail: "this can't be handed off to that system", Fields: []fault.Field{{Field: "to_system", Rule: rule}},
		}
	}
	p, ok := now.purposes.Get(h.Purpose)
	giver, registered := now.systems[h.From]
	switch {
	case !ok || p.Retired || !now.mayName(h.From, p) || !now.mayName(h.To, p):
		return against("the purpose may not be named on both sides")
	case registered && !slices.Contains(giver.HandsOffTo, h.To):
		return against("not among the systems that the giver hands off to")
	default:
		return nil
	}
}

// lacking refuses to hand off what the giver has no token of.
func lacking(h *handoffRow, fields []*schema.Field) *fault.Error {
	var none []fault.Field
	have := h.fields()
	for _, f := range fields {
		if !slices.Contains(have, f.Name) {
			none = append(none, fault.Field{Field: f.Name, Rule: "the system has no token of it"})
		}
	}
	if none == nil {
		return nil
	}
	return &fault.Error{Code: fault.Denied, Detail: "a system hands off only what it has tokens of", Fields: none}
}

// sweepHandoffs removes handoffs that have run out.
func (s *Service) sweepHandoffs(ctx context.Context) error {
	now := s.Clock()
	var late draft
	err := s.Store.View(ctx, func(r store.Reader) error {
		late = draft{}
		return scanAll(r, s.rows.key(kindHandoff), func(p store.Pair) error {
			row, err := decodeRow[handoffRow](p.Value)
			if err == nil && !now.Before(row.Until.time()) && len(late.writes) < store.MaxWrites/2 {
				late.delete(bytes.Clone(p.Key))
			}
			return err
		})
	})
	if err != nil || late.writes == nil {
		return err
	}
	_, err = commit(ctx, s.Store, &late)
	return err
}
