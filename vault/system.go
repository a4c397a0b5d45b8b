package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

// systemObjects are the registrations of calling systems: what each may name and hand off to. They grant nothing: what a
// system may do is the policies' business, and who it is its credentials'.
func systemObjects() *objectKind {
	return &objectKind{
		class: classSystem, kind: "system", action: access.ChangeConfig, approval: ApproveConfig,
		check: (*Service).checkSystem, read: (*Service).readSystem, show: (*Service).showSystem,
	}
}

// PutSystem registers a system, or changes its registration.
func (s *Service) PutSystem(ctx context.Context, call Call, name string, in *api.System) (*api.Change, error) {
	if err := checkOwnName(in.Name, name); err != nil {
		return nil, err
	}
	body := *in
	body.Name, body.ManagedBy, body.Version = "", "", 0
	return s.propose(ctx, call, systemObjects(), name, in.Version, &body)
}

// Systems lists the registered systems by name.
func (s *Service) Systems(ctx context.Context, call Call) (*api.Page[api.System], error) {
	return configured(ctx, s, call, func(call Call) (*api.Page[api.System], error) { return pageOf(call.rules.systems), nil })
}

// System shows the registration of a system.
func (s *Service) System(ctx context.Context, call Call, name string) (*api.System, error) {
	return configured(ctx, s, call, func(call Call) (*api.System, error) {
		if registered := call.rules.systems[name]; registered != nil {
			return registered, nil
		}
		return nil, fault.New(fault.NotFound, "there is no such registration")
	})
}

func (s *Service) checkSystem(_ context.Context, call Call, name string, body []byte) *fault.Error {
	system, err := objectOf[api.System](body)
	if err != nil {
		return fault.From(err)
	}
	isSystem := func(n string) bool { return systemPattern.MatchString(n) && n != itself }
	incompatible := func(one string) bool {
		return slices.ContainsFunc(system.Purposes, func(other string) bool { return call.rules.purposes.Incompatible(one, other) })
	}
	switch {
	case !isSystem(name):
		return fault.Bad("name", "1 to 40 of a–z, 0–9, dot, hyphen and _, and not the vault's own name")
	case repeats(system.Purposes), call.rules.lacksPurpose(system.Purposes):
		return fault.Bad("purposes", "purposes that there are, each once")
	case slices.ContainsFunc(system.Purposes, incompatible):
		return fault.Bad("purposes", "none that is incompatible with another: no system holds both")
	case repeats(system.HandsOffTo), slices.Contains(system.HandsOffTo, name),
		slices.ContainsFunc(system.HandsOffTo, func(n string) bool { return !isSystem(n) }):
		return fault.Bad("hands_off_to", "names of other systems, each once")
	}
	return nil
}

func (s *Service) readSystem(made *rules, name string, row *ruleRow) error {
	object, err := s.showSystem(name, row)
	if err != nil {
		return err
	}
	made.systems[name] = object.System
	return nil
}

func (s *Service) showSystem(name string, row *ruleRow) (*api.Object, error) {
	system, err := objectOf[api.System](row.Body)
	if err != nil {
		return nil, err
	}
	system.Name, system.ManagedBy, system.Version = name, api.ManagedByAPI, int(row.Version)
	return &api.Object{System: system}, nil
}

// mayUse reports whether a caller may name a purpose. Staff name every one that is in use: the policies bind them.
func (r *rules) mayUse(caller access.Principal, p *purpose.Purpose) bool {
	return !p.Retired && (caller.VaultWide() || r.mayName(caller.System, p))
}

// mayName reports whether a system may name a purpose. One that is registered names the purposes of its registration, but
// for two that are incompatible, which a change of the purposes may make of them: it names neither. One that is not
// registered names any purpose that excludes no other.
func (r *rules) mayName(system string, p *purpose.Purpose) bool {
	registered, ok := r.systems[system]
	if !ok {
		return !r.purposes.Exclusive(p.Name)
	}
	return slices.Contains(registered.Purposes, p.Name) && !slices.ContainsFunc(registered.Purposes, func(other string) bool {
		return r.purposes.Incompatible(p.Name, other)
	})
}
