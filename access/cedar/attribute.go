package cedar

import (
	"net/netip"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/sandyq/sandyq/access"
)

// attribute is one attribute of a principal or of the context: what it is of a request, nil when it is absent. Records are
// costly to make, so that a decision makes them of no more than the policies that it asks can read.
type attribute struct {
	name types.String
	of   func(*access.Request, *Options) types.Value
}

var principalAttributes = []attribute{
	{"name", func(r *access.Request, _ *Options) types.Value { return types.String(r.Principal.System) }},
	{"roles", func(r *access.Request, _ *Options) types.Value { return rolesOf(r.Principal.Roles).names }},
	{"department", func(r *access.Request, _ *Options) types.Value { return types.String(r.Principal.Department) }},
}

var contextAttributes = []attribute{
	{"purpose", func(r *access.Request, _ *Options) types.Value { return types.String(r.Purpose) }},
	{"reason", func(r *access.Request, _ *Options) types.Value { return types.String(r.Reason) }},
	{"form", func(r *access.Request, _ *Options) types.Value { return types.String(r.Form) }},
	{"basis", func(r *access.Request, _ *Options) types.Value { return types.String(r.Basis) }},
	{"recipient", func(r *access.Request, _ *Options) types.Value { return types.String(r.Recipient) }},
	{"state", func(r *access.Request, _ *Options) types.Value { return types.String(r.State) }},
	{"hour", func(_ *access.Request, o *Options) types.Value { return types.Long(o.local().Hour()) }},
	{"weekday", func(_ *access.Request, o *Options) types.Value { return types.Long(weekday(o.local())) }},
	{"count", func(r *access.Request, _ *Options) types.Value { return types.Long(r.Count) }},
	{"approvals", func(r *access.Request, _ *Options) types.Value { return types.Long(r.Approvals) }},
	{"strong", func(r *access.Request, _ *Options) types.Value { return types.Boolean(r.Principal.Strong) }},
	{"break_glass", func(r *access.Request, _ *Options) types.Value { return types.Boolean(r.BreakGlass) }},
	{"network", func(r *access.Request, _ *Options) types.Value { return networkOf(r.Principal.Network) }},
	{"behalf", func(r *access.Request, _ *Options) types.Value { return behalfOf(&r.Behalf) }},
}

func (o *Options) local() time.Time { return o.Now().In(o.Location) }

// weekday counts from Monday, 1, as ISO 8601 does.
func weekday(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }

// networkOf is an address without its zone, IPv4 as such however it was written.
func networkOf(a netip.Addr) types.Value {
	if !a.IsValid() {
		return nil
	}
	a = a.Unmap().WithZone("")
	return types.IPAddr(netip.PrefixFrom(a, a.BitLen()))
}

func behalfOf(b *access.Behalf) types.Value {
	if b.Actor == "" {
		return nil
	}
	return types.NewRecord(types.RecordMap{
		"actor":      types.String(b.Actor),
		"verified":   types.Boolean(b.Verified),
		"roles":      rolesOf(b.Roles).names,
		"department": types.String(b.Department),
	})
}

// record makes a record of the attributes of a request that are not absent.
func record(of []attribute, r *access.Request, o *Options) types.Record {
	if len(of) == 0 {
		return types.Record{}
	}
	made := make(types.RecordMap, len(of))
	for _, a := range of {
		if value := a.of(r, o); value != nil {
			made[a.name] = value
		}
	}
	return types.NewRecord(made)
}

// attributesNamed is the names of the attributes that a policy names, of whatever. It can read no others: records are compared with
// those of the same type alone, and no text can write one of the context's, in which attributes may be absent.
func attributesNamed(p *ast.Policy) map[types.String]bool {
	names := map[types.String]bool{}
	for _, condition := range p.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				names[n.Value] = true
			case ast.NodeTypeHas:
				names[n.Value] = true
			}
			return true
		})
	}
	return names
}

// only picks the attributes of those names.
func only(all []attribute, names map[types.String]bool) (some []attribute) {
	for _, a := range all {
		if names[a.name] {
			some = append(some, a)
		}
	}
	return some
}
