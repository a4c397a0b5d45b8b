package cedar

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sandyq/sandyq/access"
)

// roleSet is a set of roles as policies see it.
type roleSet struct {
	parents types.EntityUIDSet // the roles as entities
	names   types.Set          // and as strings
}

// rolesOf finds the set of roles; those that are unknown count for nothing, and the set of none is empty.
func rolesOf(roles []access.Role) (set *roleSet, empty bool) {
	at := 0
	for _, r := range roles {
		if i := slices.Index(allRoles, r); i >= 0 {
			at |= 1 << i
		}
	}
	return &roleSets[at], at == 0
}

var allRoles = access.Roles()

// roleSets are all sets of roles: the bits of the index are places in allRoles.
var roleSets = func() []roleSet {
	sets := make([]roleSet, 1<<len(allRoles))
	for at := range sets {
		var parents []types.EntityUID
		var names []types.Value
		for i, r := range allRoles {
			if at&(1<<i) != 0 {
				parents = append(parents, types.NewEntityUID(typeRole, types.String(r)))
				names = append(names, types.String(r))
			}
		}
		sets[at] = roleSet{types.NewEntityUIDSet(parents...), types.NewSet(names...)}
	}
	return sets
}()

// principalOf is the entity of a principal. A system beside being something else is a system, as everywhere.
func principalOf(p *access.Principal, roles *roleSet) types.Entity {
	kind := typeSystem
	if p.VaultWide() {
		kind = typeStaff
	}
	return types.Entity{
		UID:     types.NewEntityUID(kind, types.String(p.System)),
		Parents: roles.parents,
		Attributes: types.NewRecord(types.RecordMap{
			"name":       types.String(p.System),
			"roles":      roles.names,
			"department": types.String(p.Department),
		}),
	}
}

// contextOf is the context of a request at an hour (0–23) and weekday (1, Monday, to 7).
func contextOf(r *access.Request, hour, weekday int) types.Record {
	asked := types.RecordMap{
		"purpose":     types.String(r.Purpose),
		"reason":      types.String(r.Reason),
		"form":        types.String(r.Form),
		"basis":       types.String(r.Basis),
		"recipient":   types.String(r.Recipient),
		"state":       types.String(r.State),
		"hour":        types.Long(hour),
		"weekday":     types.Long(weekday),
		"count":       types.Long(r.Count),
		"approvals":   types.Long(r.Approvals),
		"strong":      types.Boolean(r.Principal.Strong),
		"break_glass": types.Boolean(r.BreakGlass),
	}
	if network := r.Principal.Network.Unmap().WithZone(""); network.IsValid() {
		asked["network"] = networkOf(network)
	}
	if r.Behalf.Actor != "" {
		roles, _ := rolesOf(r.Behalf.Roles)
		asked["behalf"] = types.NewRecord(types.RecordMap{
			"actor":      types.String(r.Behalf.Actor),
			"verified":   types.Boolean(r.Behalf.Verified),
			"roles":      roles.names,
			"department": types.String(r.Behalf.Department),
		})
	}
	return types.NewRecord(asked)
}
