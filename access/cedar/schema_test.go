package cedar

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/schema"
)

// TestTheSchemaIsOfTheActions: the published schema has every action, on what it is on, in the group of its operation, and
// no others; every role; and the categories of the schema of the person.
func TestTheSchemaIsOfTheActions(t *testing.T) {
	s := published().schema
	kinds := map[access.Resource]types.EntityType{access.Data: typeField}
	for resource, uid := range singular {
		kinds[resource] = uid.Type
	}
	known := map[types.EntityUID]bool{}
	for _, a := range access.Actions() {
		uid := types.NewEntityUID(typeAction, types.String(a))
		published, ok := s.Actions[uid]
		if !ok || published.AppliesTo == nil || known[uid] {
			t.Errorf("%s is not in the schema, or is an operation too", a)
			continue
		}
		known[uid] = true
		if !slices.Equal(published.AppliesTo.Resources, []types.EntityType{kinds[a.On()]}) ||
			!slices.Equal(published.AppliesTo.Principals, []types.EntityType{typeSystem, typeStaff}) {
			t.Errorf("%s applies to %+v", a, published.AppliesTo)
		}
		var groups []types.EntityUID
		if a.Operation() != "" {
			groups = append(groups, types.NewEntityUID(typeAction, types.String(a.Operation())))
		}
		if !slices.Equal(slices.Collect(published.Entity.Parents.All()), groups) {
			t.Errorf("%s is in %v, want %v", a, published.Entity.Parents, groups)
		}
		for _, group := range groups {
			if known[group] && s.Actions[group].AppliesTo != nil {
				t.Errorf("%s is an action and an operation", group)
			}
			known[group] = true
		}
	}
	for uid := range maps.Keys(s.Actions) {
		if !known[uid] {
			t.Errorf("the schema has %s", uid)
		}
	}
	var roles []string
	for _, r := range access.Roles() {
		roles = append(roles, string(r))
	}
	wantEnum(t, typeRole, roles)
	wantEnum(t, typeCategory, categories)
	for _, uid := range singular {
		wantEnum(t, uid.Type, []string{string(uid.ID)})
	}
	for _, c := range []schema.Category{
		schema.CategoryIdentity, schema.CategoryContact, schema.CategoryAddress, schema.CategoryDocument, schema.CategoryOther,
	} {
		if !slices.Contains(categories, string(c)) {
			t.Errorf("no policy can speak of category %s", c)
		}
	}
}

func wantEnum(t *testing.T, of types.EntityType, want []string) {
	t.Helper()
	var got []string
	for _, uid := range published().schema.Enums[of].Values {
		got = append(got, string(uid.ID))
	}
	slices.Sort(got)
	if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("%s is one of %v, want %v", of, got, want)
	}
}

// TestRequestsFollowTheSchema: what policies are evaluated on is what they were checked against, of every action, whether
// all is said of it that can be or as little as possible.
func TestRequestsFollowTheSchema(t *testing.T) {
	e := Default(Options{Category: func(string) string { return "contact" }, Now: func() time.Time { return time.Time{} }})
	v := published().validator
	full := access.Request{
		Principal: access.Principal{System: "i/a", Roles: access.Roles()[1:], Department: "d", Network: netip.MustParseAddr("fe80::1%eth0")},
		Form:      access.Masked, Behalf: access.Behalf{Actor: "b", Roles: access.Roles(), Department: "d"},
	}
	bare := access.Request{Principal: access.Principal{System: "crm", Roles: []access.Role{access.Application}}}
	for _, a := range access.Actions() {
		for _, r := range []access.Request{full, bare} {
			r.Action = a
			c, ok := e.take(&r)
			if !ok {
				t.Fatalf("%s is not asked about", a)
			}
			c.principal.Attributes = record(principalAttributes, &r, &e.options)
			c.context = record(contextAttributes, &r, &e.options)
			if err := v.Entity(c.principal); err != nil {
				t.Errorf("%s: %v", a, err)
			}
			of, _ := e.resources(c.question, []string{"phone"}, nil)
			err := v.Request(cedar.Request{Principal: c.principal.UID, Action: c.action, Resource: of[0].uid, Context: c.context})
			if err != nil {
				t.Errorf("%s: %v", a, err)
			}
		}
	}
	for uid, entity := range e.entities {
		if err := v.Entity(entity); err != nil {
			t.Errorf("%s: %v", uid, err)
		}
	}
	for _, kind := range []types.EntityType{typeSystem, typeStaff} {
		if n := len(published().schema.Entities[kind].Shape); n != len(principalAttributes) {
			t.Errorf("the schema has %d attributes of %s", n, kind)
		}
	}
	for uid, action := range published().schema.Actions {
		if action.AppliesTo != nil && len(action.AppliesTo.Context) != len(contextAttributes) {
			t.Errorf("the schema has %d attributes in the context of %s", len(action.AppliesTo.Context), uid)
		}
	}
}
