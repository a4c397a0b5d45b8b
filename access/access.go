// Package access is the vocabulary of who may do what, and the one door through which a permission is got.
//
// A [Request] says who asks for what, for which purpose, and what stands about it. A [Decider] (the policies) answers with a
// [Decision]. A decision is not yet a permission: the [Gate] hands it to the caller to be made durable together with its
// effect, and only then mints a [Grant]. Whatever opens a person's key asks for a Grant, and only the gate can make one,
// so a disclosure without a durable audit entry does not compile. The zero value of everything here denies.
package access

import "github.com/sandyq/sandyq/vault/fault"

// Request asks for one action on at most one person.
type Request struct {
	Principal Principal
	Action    Action
	Subject   string   // the person's vault-wide id; empty when the action is about nobody
	Fields    []string // the fields concerned, a document's field is "documents"
	Purpose   string
	Reason    string
	Form      Form   // of what is read
	Count     int    // how many values the call asks for, of everybody
	Behalf    Behalf // who stands behind the principal

	// What stands, as the vault knows it.
	State      string // of the person: active, blocked, erasing, erased; empty when nobody is meant yet
	Basis      string // what the purpose rests on for this person: consent, law, …; "none" when it is nothing on record
	Consent    string // which consent, and the version of its record, when it rests on one
	Recipient  string // to whom it is disclosed; empty when it stays with the operator
	Approvals  int    // how many others have approved
	BreakGlass bool   // the principal has declared an emergency

	// Refusal is set when law, state or purpose forbid the action whatever a policy says. No decider is asked.
	Refusal *fault.Error
}

// Form is how much of a value is shown.
type Form string

// The forms.
const (
	Plain   Form = "plain"
	Masked  Form = "masked"
	Allowed Form = "allowed" // the fullest that policy permits; only in requests
)

// Behalf is who stands behind a calling system: one of its staff, or an agent.
type Behalf struct {
	Actor      string // as the system says, or ISSUER/ACTOR when a token says so
	Verified   bool   // a token proved it
	Roles      []Role // as the token says
	Department string
}
