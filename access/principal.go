package access

import (
	"net/netip"
	"slices"
	"strings"
)

// Principal is who asks, as its credential says: a system, or one of the staff. The tenant comes from the credential and
// never from a request. The zero Principal is nobody.
type Principal struct {
	Tenant string
	// System is the name that what the principal does goes by: of a system its own, of a person of the staff who is known
	// by an issuer ISSUER/ACTOR, which no system can be called.
	System string
	// Credential names the credential for the log, without proving anything: a service token's id, x509:FINGERPRINT of a
	// certificate, oidc:ISSUER/SUBJECT of a bearer token.
	Credential string
	Roles      []Role
	Department string // of a person, as the issuer says; may be empty

	// AllSystems is set on staff who see the people and tokens of every system; others see those of Systems.
	AllSystems bool
	Systems    []string

	Strong  bool       // proved by more than one factor, or by a key that cannot be copied
	Network netip.Addr // where the request came from; zero when it is not known
}

// Has reports whether the principal has the role.
func (p Principal) Has(r Role) bool { return slices.Contains(p.Roles, r) }

// VaultWide reports whether the principal sees people by their vault-wide id. Every other one, a system, sees its own
// pairwise ids, and only of people it holds. Whoever has no role, or is a system beside being something else, is a system.
func (p Principal) VaultWide() bool { return len(p.Roles) > 0 && !p.Has(Application) }

// Reads reports whether the principal may see what a system holds: its own, and of staff what its grants name.
func (p Principal) Reads(system string) bool {
	return p.System == system || p.VaultWide() && (p.AllSystems || slices.Contains(p.Systems, system))
}

// Same reports whether both are one and the same credential of one and the same principal.
func (p Principal) Same(q Principal) bool {
	return p.Tenant == q.Tenant && p.System == q.System && p.Credential == q.Credential
}

// RoleNames is the roles as the log writes them.
func (p Principal) RoleNames() string {
	names := make([]string, len(p.Roles))
	for i, r := range p.Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ",")
}
