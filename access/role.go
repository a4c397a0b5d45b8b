package access

import (
	"slices"
	"strings"

	"github.com/sandyq/sandyq/vault/fault"
)

// Role is what a principal is to the vault. A principal may have several.
type Role string

// The roles. All but Application are of staff: people, or tools in their hands. What each may do is the policies' business;
// see deploy/policies.
const (
	Application     Role = "application"      // a system that keeps tokens in place of data; sees only the people it holds
	Staff           Role = "staff"            // people who work with people's data
	Support         Role = "support"          // people who answer customers; they are shown masked values
	KYCOfficer      Role = "kyc_officer"      // people who check identities against documents
	PrivacyOfficer  Role = "privacy_officer"  // who answers for the rights of people (DPO)
	SecurityOfficer Role = "security_officer" // who looks for misuse
	Auditor         Role = "auditor"          // reads the log, no data
	Administrator   Role = "administrator"    // credentials and configuration, no data
)

// Roles lists every role.
func Roles() []Role {
	return []Role{Application, Staff, Support, KYCOfficer, PrivacyOfficer, SecurityOfficer, Auditor, Administrator}
}

// ParseRole reads a role by its name.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	names := make([]string, len(Roles()))
	for i, r := range Roles() {
		names[i] = string(r)
	}
	return "", fault.Bad("role", "one of "+strings.Join(names, ", "))
}
