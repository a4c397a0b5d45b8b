package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

// configured answers a reading of configuration, which is about nobody and leaves no entry when permitted.
func configured[T any](ctx context.Context, s *Service, call Call, read func(Call) (*T, error)) (*T, error) {
	return underRules(ctx, s, call, func(call Call) (*T, error) {
		if err := s.admit(ctx, call, access.Request{Action: access.ReadConfig}); err != nil {
			return nil, err
		}
		return read(call)
	})
}

// Fields lists the schema.
func (s *Service) Fields(ctx context.Context, call Call) (*api.Page[api.FieldInfo], error) {
	return configured(ctx, s, call, func(Call) (*api.Page[api.FieldInfo], error) { return s.fields(), nil })
}

func (s *Service) fields() *api.Page[api.FieldInfo] {
	page := &api.Page[api.FieldInfo]{Items: []api.FieldInfo{}}
	for _, f := range s.Schema.Fields() {
		page.Items = append(page.Items, api.FieldInfo{
			Name: f.Name, Type: string(f.Type), Many: f.Many, Unique: f.Unique, Searchable: f.Searchable, Slice: f.Slice,
			Token: string(f.Token),
		})
	}
	return page
}

// Purposes lists the purposes.
func (s *Service) Purposes(ctx context.Context, call Call) (*api.Page[api.Purpose], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.Purpose], error) {
		page := &api.Page[api.Purpose]{Items: []api.Purpose{}}
		for _, p := range call.rules.purposes.All() {
			page.Items = append(page.Items, s.purposeWire(p))
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
		wire := s.purposeWire(p)
		return &wire, nil
	})
}

func (s *Service) purposeWire(p *purpose.Purpose) api.Purpose {
	wire := PurposeWire(p)
	wire.Fields = p.Fields(s.Schema)
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

// Whoami tells a caller who it is to the vault.
func (s *Service) Whoami(ctx context.Context, call Call) (*api.Whoami, error) {
	return configured(ctx, s, call, func(call Call) (*api.Whoami, error) {
		me := &api.Whoami{System: call.Principal.System}
		for _, r := range call.Principal.Roles {
			me.Roles = append(me.Roles, string(r))
		}
		for _, p := range call.rules.purposes.All() {
			me.Purposes = append(me.Purposes, p.Name)
		}
		return me, nil
	})
}
