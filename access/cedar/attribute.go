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

// reading is what policies can read: the attributes they name, of whatever, and the context as a whole, as for a comparison.
type reading struct {
	names map[types.String]bool
	whole bool
}

// add notes what a policy reads.
func (r *reading) add(p *ast.Policy) {
	named, alone := 0, 0 // occurrences of the context: with an attribute of it, and at all
	for _, condition := range p.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				r.names[n.Value] = true
				named += count(isContext(n.Arg))
			case ast.NodeTypeHas:
				r.names[n.Value] = true
				named += count(isContext(n.Arg))
			default:
				alone += count(isContext(n))
			}
			return true
		})
	}
	r.whole = r.whole || alone > named
}

func isContext(n ast.IsNode) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == "context"
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// of picks the attributes that are read.
func (r *reading) of(all []attribute, whole bool) (read []attribute) {
	for _, a := range all {
		if whole || r.names[a.name] {
			read = append(read, a)
		}
	}
	return read
}
