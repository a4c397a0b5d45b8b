package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/api"
)

// configured answers a reading of configuration, which is about nobody and leaves no entry when permitted.
func configured[T any](ctx context.Context, s *Service, call Call, read func(Call) (*T, error)) (*T, error) {
	if err := s.rulebook.load(ctx); err != nil { // a reading makes no Update that would notice a change
		return nil, edge(err)
	}
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

// Whoami tells a caller who it is to the vault.
func (s *Service) Whoami(ctx context.Context, call Call) (*api.Whoami, error) {
	return configured(ctx, s, call, func(call Call) (*api.Whoami, error) {
		me := &api.Whoami{System: call.Principal.System}
		for _, r := range call.Principal.Roles {
			me.Roles = append(me.Roles, string(r))
		}
		for _, p := range call.rules.purposes.All() {
			if !p.Retired && (call.Principal.VaultWide() || call.rules.mayName(call.Principal.System, p)) {
				me.Purposes = append(me.Purposes, p.Name)
			}
		}
		me.BudgetsEnforced, me.Budgets = s.Budget.Mode == budget.Enforce, s.budgetsLeft(call.Principal)
		return me, nil
	})
}
