package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

// purposeObjects are the purposes that privacy officers make over the API. They come after those of the configuration's file,
// which cover what the store has under the same name.
func purposeObjects() *objectKind {
	return &objectKind{
		class: classPurpose, kind: "purpose", action: access.ChangePurpose, approval: ApprovePurpose,
		check: (*Service).checkPurpose, read: (*Service).readPurpose, show: (*Service).showPurpose,
	}
}

// PutPurpose makes or changes a purpose.
func (s *Service) PutPurpose(ctx context.Context, call Call, name string, in *api.Purpose) (*api.Change, error) {
	if err := checkOwnName(in.Name, name); err != nil {
		return nil, err
	}
	body := *in
	body.Name, body.ManagedBy, body.Version, body.ChangedAt, body.ChangedBy, body.Change = "", "", 0, api.Time{}, "", ""
	if body.AllFields {
		body.Fields = nil
	}
	return s.propose(ctx, call, purposeObjects(), name, in.Version, &body)
}

// checkOwnName refuses an object that names itself otherwise than the call does.
func checkOwnName(own, name string) error {
	if own != "" && own != name {
		return fault.Bad("name", "the name of the path, or none")
	}
	return nil
}

// errOfFile is for what only a file can change.
func errOfFile() *fault.Error {
	return fault.New(fault.Conflict, "this comes from a file and is changed there (managed_by: file)")
}

func (s *Service) checkPurpose(_ context.Context, call Call, name string, body []byte) *fault.Error {
	if _, ofFile := s.Options.Purposes.Get(name); ofFile {
		return errOfFile()
	}
	p, err := s.purposeOf(name, &ruleRow{Body: body})
	if broken, ok := errors.AsType[*purpose.Broken](err); ok {
		if broken.Member == "title" { // as the file has it; over the API they are titles
			broken.Member = "titles"
		}
		return fault.Bad(broken.Member, broken.Rule)
	}
	switch {
	case err != nil:
		return fault.From(err)
	case p.Fits(s.Schema) != "":
		return fault.Bad("fields", "fields of the schema")
	}
	for _, other := range p.IncompatibleWith {
		if _, ok := call.rules.purposes.Get(other); !ok {
			return fault.Bad("incompatible_with", "purposes that there are")
		}
	}
	for _, system := range call.rules.systems {
		holds := func(name string) bool { return slices.Contains(system.Purposes, name) }
		if holds(name) && slices.ContainsFunc(p.IncompatibleWith, holds) {
			return conflict("incompatible_with", "a system is registered for both: change its registration first")
		}
	}
	return nil
}

// purposeOf makes a purpose of its row. What breaks a rule is a *purpose.Broken.
func (s *Service) purposeOf(name string, row *ruleRow) (*purpose.Purpose, error) {
	body, err := objectOf[api.Purpose](row.Body)
	if err != nil {
		return nil, err
	}
	p, err := s.Options.Purposes.Make(purpose.Settings{
		Name: name, Title: purpose.Title{Kazakh: body.Title.KK, Russian: body.Title.RU, English: body.Title.EN},
		Basis: body.Basis, Citation: body.Citation, OwnConsent: body.OwnConsent, CrossBorder: body.CrossBorder,
		Discloses: body.Discloses, Recipients: body.Recipients, IncompatibleWith: body.IncompatibleWith, Obligation: body.Obligation,
		Fields: purpose.FieldList{All: body.AllFields, Names: body.Fields}, Documents: body.Documents, Retired: body.Retired,
		Retention: purpose.Retention{
			After: purpose.Event(body.Retention.After), Years: body.Retention.Years, Months: body.Retention.Months,
			Days: body.Retention.Days,
		},
	})
	if err != nil {
		return nil, err
	}
	p.Version = int(row.Version)
	return p, nil
}

// readPurpose adds a purpose to the rules. One that does not fit the schema or the bases of the configuration any more is left
// out, so that every use of it is refused, and the log says so.
func (s *Service) readPurpose(made *rules, name string, row *ruleRow) error {
	p, err := s.purposeOf(name, row)
	if broken, ok := errors.AsType[*purpose.Broken](err); ok || err == nil && p.Fits(s.Schema) != "" {
		rule := "it names a field that the schema does not have"
		if broken != nil {
			rule = broken.Rule
		}
		s.Log.Error("a purpose made over the API does not fit the configuration and cannot be used: change it, or the configuration",
			"purpose", name, "rule", rule)
		return nil
	}
	if err != nil {
		return err
	}
	if _, covered := made.purposes.Get(name); covered {
		s.Log.Warn("a purpose made over the API is covered by one of the same name in the configuration's file", "purpose", name)
		return nil
	}
	made.purposes = made.purposes.With(p)
	return nil
}

// showPurpose is a version of a purpose, whether or not it still fits.
func (s *Service) showPurpose(name string, row *ruleRow) (*api.Object, error) {
	wire, err := objectOf[api.Purpose](row.Body)
	if err != nil {
		return nil, err
	}
	if wire.AllFields {
		for _, f := range s.Schema.Fields() {
			wire.Fields = append(wire.Fields, f.Name)
		}
	}
	wire.Name, wire.ManagedBy, wire.Version = name, api.ManagedByAPI, int(row.Version)
	wire.ChangedAt, wire.ChangedBy = row.At.time(), row.By
	if row.Change != nil {
		wire.Change = ChangeID(row.Change).String()
	}
	return &api.Object{Purpose: wire}, nil
}

// Purposes lists the purposes.
func (s *Service) Purposes(ctx context.Context, call Call) (*api.Page[api.Purpose], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.Purpose], error) {
		page := &api.Page[api.Purpose]{Items: []api.Purpose{}}
		for _, p := range call.rules.purposes.All() {
			page.Items = append(page.Items, s.purposeWire(call.rules, p))
		}
		return page, nil
	})
}

// Purpose shows one purpose.
func (s *Service) Purpose(ctx context.Context, call Call, name string) (*api.Purpose, error) {
	return configured(ctx, s, call, func(call Call) (*api.Purpose, error) {
		p, ok := call.rules.purposes.Get(name)
		if !ok {
			return nil, fault.New(fault.NotFound, "there is no such purpose")
		}
		wire := s.purposeWire(call.rules, p)
		return &wire, nil
	})
}

// PurposeVersions lists every version of a purpose that was made over the API, from the first.
func (s *Service) PurposeVersions(ctx context.Context, call Call, name string) (*api.Page[api.Purpose], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.Purpose], error) {
		p, ok := call.rules.purposes.Get(name)
		if ok && p.Version == 0 {
			return &api.Page[api.Purpose]{Items: []api.Purpose{s.purposeWire(call.rules, p)}}, nil
		}
		versions, err := s.objectVersions(ctx, purposeObjects(), name)
		if err != nil {
			return nil, err
		}
		if versions == nil {
			return nil, fault.New(fault.NotFound, "there is no such purpose")
		}
		page := &api.Page[api.Purpose]{Items: []api.Purpose{}}
		for _, v := range versions {
			page.Items = append(page.Items, *v.Purpose)
		}
		return page, nil
	})
}

func (s *Service) purposeWire(now *rules, p *purpose.Purpose) api.Purpose {
	wire := PurposeWire(p)
	wire.Fields = p.Fields(s.Schema)
	if row := now.objects[objectKey{classPurpose, p.Name}]; p.Version > 0 {
		wire.ChangedAt, wire.ChangedBy = row.At.time(), row.By
		if row.Change != nil {
			wire.Change = ChangeID(row.Change).String()
		}
	}
	return wire
}

// PurposeWire is a purpose as the API writes it, with the fields as they were listed: none when it reaches all.
func PurposeWire(p *purpose.Purpose) api.Purpose {
	wire := api.Purpose{
		Name: p.Name, Title: api.Title{KK: p.Title.Kazakh, RU: p.Title.Russian, EN: p.Title.English}, Basis: p.Basis.Name,
		Citation: p.Citation, OwnConsent: p.OwnConsent, CrossBorder: p.CrossBorder, Discloses: p.Discloses,
		Recipients: p.Recipients, IncompatibleWith: p.IncompatibleWith, Obligation: p.Obligation, Fields: p.Listed(),
		AllFields: p.AllFields(), Documents: p.AllowsDocuments(), Retired: p.Retired, Version: p.Version,
		Retention: api.Retention{
			After: string(p.Retention.After), Years: p.Retention.Years, Months: p.Retention.Months, Days: p.Retention.Days,
		},
		ManagedBy: api.ManagedByFile,
	}
	if p.Version > 0 {
		wire.ManagedBy = api.ManagedByAPI
	}
	return wire
}
