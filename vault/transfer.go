package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// TransferID names a disclosure to a third party. Ids ascend with the time that was read when they were made.
type TransferID [16]byte

const transferPrefix = "trf_"

func (t TransferID) String() string { return id.Encode(transferPrefix, t) }

// newTransferID draws an id as the log's are drawn.
func (s *Service) newTransferID() TransferID { return TransferID(audit.NewID(s.Clock())) }

func (l layout) transfer(s SubjectID, t TransferID) []byte { return l.key(kindTransfer, s[:], t[:]) }

// transferRow is that data of a person was disclosed to a third party. It is written with the permission, before a key is
// opened: nothing is disclosed without it, and some that it tells of may have failed after it. It goes with the person.
type transferRow struct {
	At          stamp    `cbor:"1,keyasint"` // when it was disclosed
	System      string   `cbor:"2,keyasint"` // who disclosed, or said so
	Recipient   string   `cbor:"3,keyasint"`
	Version     int      `cbor:"4,keyasint,omitempty"` // of the recipient's record
	Purpose     string   `cbor:"5,keyasint"`
	Basis       string   `cbor:"6,keyasint"`
	Consent     string   `cbor:"7,keyasint,omitempty"` // which, and the version of its record
	Fields      []string `cbor:"8,keyasint"`
	Items       int      `cbor:"9,keyasint,omitempty"`
	CrossBorder bool     `cbor:"10,keyasint,omitempty"`
	Reason      string   `cbor:"11,keyasint"`
	Outside     bool     `cbor:"12,keyasint,omitempty"` // it happened outside the vault
	RequestID   string   `cbor:"13,keyasint"`
}

// transferOf is the row of what a deed discloses.
func (s *Service) transferOf(call Call, d *deed, to *party, fields []string) *transferRow {
	r := &d.request
	return &transferRow{
		At: stampOf(s.Clock()), System: call.Principal.System, Recipient: to.Name, Version: to.Version, Purpose: r.Purpose,
		Basis: r.Basis, Consent: r.Consent, Fields: fields, Items: d.entry.Items, CrossBorder: to.abroad, Reason: r.Reason,
		RequestID: call.RequestID,
	}
}

// disclosing has a deed that discloses these fields to a third party write that down, if it is permitted.
func (s *Service) disclosing(call Call, d *deed, who SubjectID, to *party, fields []string) {
	if to != nil && d.effect != nil && len(fields) > 0 {
		d.effect.set(s.rows.transfer(who, s.newTransferID()), encodeRow(s.transferOf(call, d, to, fields)))
	}
}

// RecordTransfer records a disclosure that happened outside the vault, if it would be permitted now.
func (s *Service) RecordTransfer(ctx context.Context, call Call, subject string, req *api.RecordTransferRequest) (*api.Transfer, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Transfer, error) { return s.recordTransfer(ctx, call, subject, req) })
}

func (s *Service) recordTransfer(ctx context.Context, call Call, subject string, req *api.RecordTransferRequest) (*api.Transfer, error) {
	r := access.Request{Action: access.RecordTransfer, Purpose: req.Purpose, Reason: req.Reason, Fields: req.Fields}
	u, err := s.checkTransfer(ctx, call, &r, req)
	if err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var answer *api.Transfer
	err = s.once(ctx, call, access.RecordTransfer, func(o *once) error {
		_, err := s.act(ctx, call, func() (d deed, err error) {
			d, answer, err = s.transferDeed(ctx, call, r, subject, u, req, o)
			return d, err
		})
		return err
	})
	return answer, err
}

// checkTransfer checks what a request to record a transfer says.
func (s *Service) checkTransfer(ctx context.Context, call Call, r *access.Request, req *api.RecordTransferRequest) (u use, err error) {
	p, err := s.purposeNamed(ctx, call, access.RecordTransfer, req.Purpose)
	if err != nil {
		return u, err
	}
	if err := checkCode("reason", req.Reason); err != nil {
		return u, err
	}
	values := slices.DeleteFunc(slices.Clone(req.Fields), func(f string) bool { return f == documentsField })
	switch documents := len(req.Fields) - len(values); {
	case documents > 1:
		return u, fault.Bad(documentsField, "named twice")
	case documents == 0 || len(values) > 0:
		if _, err := s.fieldsNamed(values); err != nil {
			return u, err
		}
	}
	const skew = time.Minute // between the caller's clock and the vault's
	switch {
	case req.At.IsZero():
		return u, fault.Bad("at", ruleRequired)
	case req.At.After(s.Clock().Add(skew)):
		return u, fault.Bad("at", "not in the future")
	case len(req.Evidence) > api.MaxNote:
		return u, fault.Bad("evidence", fmt.Sprintf("at most %d bytes", api.MaxNote))
	}
	if r.Behalf, err = s.behalf(ctx, req.OnBehalfOf); err != nil {
		return u, err
	}
	if u, err = s.useOf(call.rules, r, p, req.Recipient); err != nil {
		return u, err
	}
	if u.to == nil && r.Refusal == nil {
		return u, fault.Bad("purpose", "discloses to nobody")
	}
	if r.Refusal == nil {
		r.Refusal = u.outside(req.Fields...)
	}
	return u, nil
}

func (s *Service) transferDeed(ctx context.Context, call Call, r access.Request, subject string, u use, req *api.RecordTransferRequest, o *once) (d deed, answer *api.Transfer, err error) {
	permit := s.keyring.Permit()
	var against *fault.Error
	var before *transferRow
	transfer := s.newTransferID()
	who, err := s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) (err error) {
		if e := o.earlier(0); e != nil {
			transfer = e.Object
			before, err = getRow[transferRow](rd, s.rows.transfer(who.id, transfer))
			return err
		}
		against, err = s.consented(rd, u, who.id, who.row.bases)
		return err
	})
	if err != nil {
		return d, nil, err
	}
	d = deed{request: r, effect: &draft{}}
	d.request.Subject = who.id.String()
	d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
	switch d.request.Refusal = s.stands(call.rules, &d.request, who.row); {
	case d.request.Refusal != nil:
		return d, nil, nil
	case before != nil: // done before: recorded again and not done again
		return d, transferWire(transfer, before), nil
	case o.earlier(0) != nil:
		d.request.Refusal = errAnotherCall()
		return d, nil, nil
	case against != nil:
		d.request.Refusal = against
		return d, nil, nil
	}
	if d.entry.Note, err = s.sealNote(ctx, permit, who, req.Evidence); err != nil {
		if fault.CodeOf(err) == fault.Invalid {
			err = fault.Bad("evidence", "this person has no data to keep it with")
		}
		return d, nil, err
	}
	row := s.transferOf(call, &d, u.to, req.Fields)
	row.At, row.Outside = stampOf(req.At), true
	d.entry.Objects = []string{transfer.String()}
	d.effect.set(s.rows.transfer(who.id, transfer), encodeRow(row))
	o.keep(d.effect, 0, done{Subject: who.id, Object: transfer})
	return d, transferWire(transfer, row), nil
}

func transferWire(id TransferID, row *transferRow) *api.Transfer {
	return &api.Transfer{
		Transfer: id.String(), Recipient: row.Recipient, RecipientVersion: row.Version, Purpose: row.Purpose, Basis: row.Basis,
		Consent: row.Consent, Fields: row.Fields, Items: row.Items, CrossBorder: row.CrossBorder, Reason: row.Reason,
		At: row.At.time(), System: row.System, Outside: row.Outside, RequestID: row.RequestID,
	}
}

// SubjectRecipients tells who has something of a person: systems that hold them, and third parties that were disclosed to.
// A system is told of itself and of what it disclosed. Cursor is an earlier answer's, or empty.
func (s *Service) SubjectRecipients(ctx context.Context, call Call, subject string, limit int, cursor string) (*api.SubjectRecipients, error) {
	return underRules(ctx, s, call, func(call Call) (*api.SubjectRecipients, error) {
		return s.subjectRecipients(ctx, call, subject, limit, cursor)
	})
}

func (s *Service) subjectRecipients(ctx context.Context, call Call, subject string, limit int, cursor string) (*api.SubjectRecipients, error) {
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	var after TransferID
	if cursor != "" {
		if after, err = id.Decode(transferPrefix, cursor); err != nil {
			return nil, fault.Bad("cursor", ruleUnknown)
		}
	}
	r := access.Request{Action: access.ListRecipients}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	var who *person
	var out *api.SubjectRecipients
	_, err = s.act(ctx, call, func() (d deed, err error) {
		who, err = s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) (err error) {
			out = &api.SubjectRecipients{Subject: who.name(call.Principal), Transfers: []api.Transfer{}}
			if out.Systems, err = s.holdingSystems(rd, call.Principal, who.id); err != nil {
				return err
			}
			return s.transfersOf(rd, call.Principal, who.id, after, limit, out)
		})
		if err != nil {
			return d, err
		}
		d = deed{request: r, effect: &draft{}}
		d.request.Subject = who.id.String()
		d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
		if who.row.state != stateActive {
			d.request.Refusal = fault.New(fault.Erased, "this person is erased")
		}
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// holdingSystems lists the systems that hold a person, of those whose people the caller sees.
func (s *Service) holdingSystems(r store.Reader, caller access.Principal, who SubjectID) ([]api.HoldingSystem, error) {
	tokens := map[string]int{}
	err := scanAll(r, s.rows.of(kindIssued, who), func(p store.Pair) error {
		system, _ := s.rows.issuedParts(p.Key)
		tokens[system]++
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := []api.HoldingSystem{}
	prefix := s.rows.of(kindHolding, who)
	return all, scanAll(r, prefix, func(p store.Pair) error {
		system := string(p.Key[len(prefix) : len(p.Key)-1])
		if !caller.Reads(system) {
			return nil
		}
		h, err := decodeRow[holdingRow](p.Value)
		if err != nil {
			return err
		}
		all = append(all, api.HoldingSystem{System: system, Since: h.Since.time(), Purposes: h.Purposes, Tokens: tokens[system]})
		return nil
	})
}

// transfersOf lists a page of the transfers of a person, of those by systems whose people the caller sees.
func (s *Service) transfersOf(r store.Reader, caller access.Principal, who SubjectID, after TransferID, limit int, out *api.SubjectRecipients) error {
	const step = 200
	prefix := s.rows.of(kindTransfer, who)
	for at := s.rows.transfer(who, after); ; {
		pairs, err := r.Scan(prefix, at, step)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			row, err := decodeRow[transferRow](p.Value)
			switch {
			case err != nil:
				return err
			case !caller.Reads(row.System):
				continue
			case len(out.Transfers) == limit:
				out.NextCursor = out.Transfers[limit-1].Transfer
				return nil
			}
			out.Transfers = append(out.Transfers, *transferWire(TransferID(p.Key[len(prefix):]), row))
		}
		if len(pairs) < step {
			return nil
		}
		at = pairs[step-1].Key
	}
}
