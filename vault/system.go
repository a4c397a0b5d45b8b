package vault

import (
	"slices"

	"github.com/sandyq/sandyq/vault/purpose"
)

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
