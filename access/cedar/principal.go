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

// rolesOf finds the set of roles; those that are unknown count for nothing.
func rolesOf(roles []access.Role) *roleSet {
	at := 0
	for _, r := range roles {
		if i := slices.Index(allRoles, r); i >= 0 {
			at |= 1 << i
		}
	}
	return &roleSets[at]
}

func (s *roleSet) empty() bool { return s == &roleSets[0] }

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
