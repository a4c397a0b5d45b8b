// Package access is the vocabulary of who may do what, and the one door through which a permission is got.
//
// A [Request] says who asks for what, for which purpose. A [Decider] (roles today, policies later) answers with a
// [Decision]. A decision is not yet a permission: the [Gate] hands it to the caller to be made durable together with its
// effect, and only then mints a [Grant]. Whatever opens a person's key asks for a Grant, and only the gate can make one,
// so a disclosure without a durable audit entry does not compile. The zero value of everything here denies.
package access

import (
	"slices"

	"github.com/sandyq/sandyq/vault/fault"
)

// Role is what a principal is to the vault.
type Role string

// The roles of service tokens.
const (
	Application   Role = "application"   // a system that keeps tokens in place of data; sees only the people it holds
	Staff         Role = "staff"         // people who look at people's data; sees the vault-wide ids
	Administrator Role = "administrator" // everything, credentials included
)

// ParseRole reads a role by its name.
func ParseRole(s string) (Role, error) {
	r := Role(s)
	if !slices.Contains([]Role{Application, Staff, Administrator}, r) {
		return "", fault.Bad("role", "one of application, staff, administrator")
	}
	return r, nil
}

// VaultWide reports whether the role sees people by their vault-wide id, whichever system holds them. Every other role
// sees its own pairwise ids, and only of people its system holds.
func (r Role) VaultWide() bool { return r == Staff || r == Administrator }

// Principal is who asks: a system, known by one of its credentials. Its tenant comes from the credential and never from
// a request.
type Principal struct {
	Tenant     string
	System     string
	Credential string // the credential's random id, for the log
	Role       Role
}

// Action is an operation of the API, the unit of permission and the operation of an audit entry.
type Action string

// The actions.
const (
	Tokenize         Action = "tokenize"
	Detokenize       Action = "detokenize"
	Reveal           Action = "reveal"
	Search           Action = "search"
	DescribeTokens   Action = "tokens.describe"
	RevokeTokens     Action = "tokens.revoke"
	PutDocument      Action = "document.put"
	OpenDocument     Action = "document.open"
	CreateSubject    Action = "subject.create"
	ShowSubject      Action = "subject.show"
	Rectify          Action = "subject.rectify"
	Block            Action = "subject.block"
	Unblock          Action = "subject.unblock"
	RequestErasure   Action = "erasure.request"
	ApproveErasure   Action = "erasure.approve"
	CancelErasure    Action = "erasure.cancel"
	ShowErasure      Action = "erasure.show"
	ReadAudit        Action = "audit.read"
	CreateCredential Action = "credential.create"
	ListCredentials  Action = "credential.list"
	RevokeCredential Action = "credential.revoke"
	ReadConfig       Action = "configuration.read"
)

// Actions lists every action, for tables that must miss none.
func Actions() []Action {
	return []Action{
		Tokenize, Detokenize, Reveal, Search, DescribeTokens, RevokeTokens, PutDocument, OpenDocument, CreateSubject,
		ShowSubject, Rectify, Block, Unblock, RequestErasure, ApproveErasure, CancelErasure, ShowErasure, ReadAudit,
		CreateCredential, ListCredentials, RevokeCredential, ReadConfig,
	}
}

// Request asks for one action on at most one person.
type Request struct {
	Principal Principal
	Action    Action
	Subject   string   // the person's vault-wide id; empty when the action is about nobody
	Fields    []string // the fields concerned, a document's field is "documents"
	Purpose   string
	Reason    string
	Form      string // plain or masked, for readings
	Behalf    string // who stands behind the principal, as it says

	// Refusal is set when law, state or purpose forbid the action whatever a policy says. No decider is asked.
	Refusal *fault.Error
}
