package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

// configured permits or refuses the reading of configuration, which is about nobody and leaves no entry when permitted.
func (s *Service) configured(ctx context.Context, call Call) error {
	return edge(s.admit(ctx, call, access.Request{Action: access.ReadConfig}))
}

// Fields lists the schema.
func (s *Service) Fields(ctx context.Context, call Call) (*api.Page[api.FieldInfo], error) {
	if err := s.configured(ctx, call); err != nil {
		return nil, err
	}
	page := &api.Page[api.FieldInfo]{Items: []api.FieldInfo{}}
	for _, f := range s.Schema.Fields() {
		page.Items = append(page.Items, api.FieldInfo{
			Name: f.Name, Type: string(f.Type), Many: f.Many, Unique: f.Unique, Searchable: f.Searchable, Slice: f.Slice,
			Token: string(f.Token),
		})
	}
	return page, nil
}

// Purposes lists the purposes.
func (s *Service) Purposes(ctx context.Context, call Call) (*api.Page[api.Purpose], error) {
	if err := s.configured(ctx, call); err != nil {
		return nil, err
	}
	page := &api.Page[api.Purpose]{Items: []api.Purpose{}}
	for _, p := range s.Options.Purposes.All() {
		page.Items = append(page.Items, s.purposeWire(p))
	}
	return page, nil
}

// Purpose shows one purpose.
func (s *Service) Purpose(ctx context.Context, call Call, name string) (*api.Purpose, error) {
	if err := s.configured(ctx, call); err != nil {
		return nil, err
	}
	p, ok := s.Options.Purposes.Get(name)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no such purpose")
	}
	wire := s.purposeWire(p)
	return &wire, nil
}

func (s *Service) purposeWire(p *purpose.Purpose) api.Purpose {
	return api.Purpose{
		Name: p.Name, Basis: p.Basis.Name, Fields: p.Fields(s.Schema), Documents: p.AllowsDocuments(), ManagedBy: "file",
	}
}

// Whoami tells a caller who it is to the vault.
func (s *Service) Whoami(ctx context.Context, call Call) (*api.Whoami, error) {
	if err := s.configured(ctx, call); err != nil {
		return nil, err
	}
	me := &api.Whoami{System: call.Principal.System, Roles: []string{string(call.Principal.Role)}}
	for _, p := range s.Options.Purposes.All() {
		me.Purposes = append(me.Purposes, p.Name)
	}
	return me, nil
}
