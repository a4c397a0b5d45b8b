package vault

import (
	"context"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// Reveal shows fields of one person, without tokens. An application is shown what it holds tokens of and nothing that
// other systems collected.
func (s *Service) Reveal(ctx context.Context, call Call, subject string, req *api.RevealRequest) (*api.RevealResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.RevealResponse, error) { return s.reveal(ctx, call, subject, req) })
}

func (s *Service) reveal(ctx context.Context, call Call, subject string, req *api.RevealRequest) (*api.RevealResponse, error) {
	form, err := formOf(req.Form)
	if err != nil {
		return nil, err
	}
	r, p, err := s.reading(ctx, call, access.Reveal, req.Purpose, req.Reason, form, req.OnBehalfOf)
	if err != nil {
		return nil, err
	}
	u, err := s.useOf(call.rules, &r, p, req.Recipient)
	if err != nil {
		return nil, err
	}
	if err := checkNote(req.Note); err != nil {
		return nil, err
	}
	fields, err := s.fieldsNamed(req.Fields)
	if err != nil {
		return nil, err
	}
	r.Fields = req.Fields
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Reading)
	var readings []reading
	var against *fault.Error
	var permit permit
	outcome, err := s.act(ctx, call, func() (deed, error) {
		permit = s.keyring.Permit()
		readings = nil
		who, err := s.meet(ctx, call, r, subject, func(rd store.Reader, who *person) (err error) {
			if readings, err = s.readings(rd, call.Principal, who, fields); err != nil {
				return err
			}
			against, err = s.consented(rd, u, who.id, who.row.bases)
			return err
		})
		if err != nil {
			return deed{}, err
		}
		d, err := s.revealDeed(ctx, call, permit, r, u, who, against, req.Note, readings)
		s.disclosing(call, &d, who.id, u.to, fieldsOf(readings))
		return d, err
	})
	if err != nil {
		return nil, err
	}
	return s.revealed(ctx, permit, outcome.grant, readings, form)
}

// fieldsOf names the fields of readings, which are in their order.
func fieldsOf(readings []reading) []string {
	var names []string
	for _, r := range readings {
		names = append(names, r.field.Name)
	}
	return slices.Compact(names)
}

// fieldsNamed finds the fields that a request names.
func (s *Service) fieldsNamed(names []string) ([]*schema.Field, error) {
	if len(names) == 0 || len(names) > len(s.Schema.Fields()) {
		return nil, fault.Bad("fields", fmt.Sprintf("1 to %d field names", len(s.Schema.Fields())))
	}
	fields := make([]*schema.Field, len(names))
	for i, n := range names {
		f, ok := s.Schema.Field(n)
		if ok && slices.Contains(fields[:i], f) {
			return nil, fault.Bad(n, "named twice")
		}
		if !ok {
			return nil, &fault.Error{Code: fault.Invalid, Detail: "the request breaks a rule", Fields: []fault.Field{unknownField(n)}}
		}
		fields[i] = f
	}
	return fields, nil
}

// readable lists the values of a person that the caller may be shown at all.
func (s *Service) readings(r store.Reader, caller access.Principal, who *person, fields []*schema.Field) ([]reading, error) {
	may, any, err := s.readable(r, caller, who.id)
	if err != nil {
		return nil, err
	}
	var readings []reading
	for _, f := range fields {
		records, err := s.loadRecords(r, who.id, f.Name)
		if err != nil {
			return nil, err
		}
		for _, rec := range records {
			if (any || may[string(issuedPart(f.Name, rec.slot))]) && !who.row.fades(rec.Key) {
				readings = append(readings, reading{subject: who.id, field: f, record: rec})
			}
		}
	}
	return readings, nil
}

func (s *Service) revealDeed(ctx context.Context, call Call, p permit, r access.Request, u use, who *person, against *fault.Error, note string, readings []reading) (deed, error) {
	d := deed{request: r, effect: &draft{}}
	d.request.Subject = who.id.String()
	d.entry.Items = len(readings)
	for i, value := range readings {
		d.dues = append(d.dues, due{i, budget.Read, string(value.field.Category)})
	}
	d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
	if d.request.Refusal = s.stands(call.rules, &d.request, who.row); d.request.Refusal == nil {
		d.request.Refusal = u.outside(r.Fields...)
	}
	if d.request.Refusal == nil {
		d.request.Refusal = against
	}
	if d.request.Refusal != nil {
		return d, nil
	}
	var err error
	d.entry.Note, err = s.sealNote(ctx, p, who, note)
	return d, err
}

// revealed opens the values that were granted.
func (s *Service) revealed(ctx context.Context, p permit, g access.Grant, readings []reading, form api.Form) (*api.RevealResponse, error) {
	things := make([]wanted, len(readings))
	for i, r := range readings {
		things[i] = wanted{g, r.subject, r.record.Key}
	}
	keys, err := s.disclose(ctx, p, access.Reveal, things)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	resp := &api.RevealResponse{Fields: map[string]api.OneOrMany[api.Value]{}}
	for _, r := range readings {
		r.form = api.Form(g.Form())
		if form == api.Allowed {
			if resp.Forms == nil {
				resp.Forms = map[string]api.Form{}
			}
			resp.Forms[r.field.Name] = r.form
		}
		v, err := s.show(keys, r)
		if err != nil {
			return nil, err
		}
		values := resp.Fields[r.field.Name]
		values.Items = append(values.Items, v)
		values.List = r.field.Many || len(values.Items) > 1 // many in an earlier schema
		resp.Fields[r.field.Name] = values
	}
	return resp, nil
}

// sealNote seals a caller's free text under the person's key, so that it dies with the person. A person without a key yet
// has nothing to be asked about, and takes no note.
func (s *Service) sealNote(ctx context.Context, p permit, who *person, note string) ([]byte, error) {
	if note == "" {
		return nil, nil
	}
	key, ok := who.row.Keys[schema.IdentitySlice]
	if !ok {
		if key, ok = who.row.Keys[schema.DocumentsSlice]; !ok {
			return nil, fault.Bad("note", "this person has no data to make a note on")
		}
	}
	opened, err := s.keyring.Open(ctx, p, key)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	k, err := opened.Key(0)
	if err := s.keyTrouble(err); err != nil {
		return nil, err
	}
	return envelope.Seal(k, s.context(sealedNote, who.id, "", 1), []byte(note))
}
