package api

import "github.com/sandyq/sandyq/vault/fault"

// CreateSubjectRequest is the body of POST /v1/subjects: a person without fields.
type CreateSubjectRequest struct {
	Purpose     string `json:"purpose"`
	ExternalRef string `json:"external_ref,omitempty"`
}

// SubjectState is where a person stands.
type SubjectState string

// The states. A blocked person is active with blocks.
const (
	StateActive  SubjectState = "active"
	StateBlocked SubjectState = "blocked"
	StateErasing SubjectState = "erasing"
	StateErased  SubjectState = "erased"
)

// Subject is a person as GET /v1/subjects/{id} shows it: what is held, no values.
type Subject struct {
	Subject   string                       `json:"subject"`
	State     SubjectState                 `json:"state"`
	Created   bool                         `json:"created,omitzero"`    // new to the calling system; on creation
	CreatedAt Time                         `json:"created_at,omitzero"` // to an application: since when it holds the person
	Blocks    []Block                      `json:"blocks,omitempty"`
	Fields    map[string]HeldField         `json:"fields,omitempty"`
	Tokens    map[string]OneOrMany[string] `json:"tokens,omitempty"` // the calling system's
	Documents []HeldDocument               `json:"documents,omitempty"`
	Purposes  []string                     `json:"purposes,omitempty"` // to an application: its own
	Consents  []HeldConsent                `json:"consents,omitempty"` // to an application: those that it recorded
	Erasure   string                       `json:"erasure,omitempty"`  // the erasure that is under way
}

// HeldConsent is a consent as its person's page lists it.
type HeldConsent struct {
	Consent   string       `json:"consent"`
	State     ConsentState `json:"state"`
	Purposes  []string     `json:"purposes"`
	GivenAt   Time         `json:"given_at"`
	ExpiresAt Time         `json:"expires_at,omitzero"`
}

// HeldField tells how many values of a field are held and since when.
type HeldField struct {
	Values    int  `json:"values"`
	UpdatedAt Time `json:"updated_at,omitzero"`
}

// HeldDocument is a document as its person's page lists it. What the scan is (type, size, digest) is sealed and comes with
// opening it.
type HeldDocument struct {
	Document string     `json:"document"`
	Token    string     `json:"token,omitempty"` // the calling system's
	Kind     string     `json:"kind"`
	Parts    []HeldPart `json:"parts"`
}

// HeldPart is a side or a page of a held document.
type HeldPart struct {
	Part    int    `json:"part"` // from 1
	Side    string `json:"side,omitempty"`
	AddedAt Time   `json:"added_at,omitzero"`
}

// Block is why processing of a person is stopped.
type Block struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason,omitempty"` // to an application, of the blocks that it placed
	Since  Time   `json:"since"`
}

// BlockRequest is the body of POST …/block and …/unblock.
type BlockRequest struct {
	Kind   string `json:"kind"` // dispute, unlawful, other
	Reason string `json:"reason"`
}

// Evidence is what a correction rests on.
type Evidence struct {
	Kind string `json:"kind"` // document, application, self_service
	Ref  string `json:"ref"`
}

// RectifyRequest is the body of POST …/rectify: values are replaced, tokens stay.
type RectifyRequest struct {
	Purpose    string                      `json:"purpose"`
	Evidence   Evidence                    `json:"evidence"`
	OnBehalfOf *Actor                      `json:"on_behalf_of,omitempty"`
	Fields     map[string]OneOrMany[Value] `json:"fields"`
}

// RectifyResponse lists the tokens of the rectified fields.
type RectifyResponse struct {
	Subject  string                       `json:"subject"`
	Tokens   map[string]OneOrMany[string] `json:"tokens"`
	Warnings []fault.Field                `json:"warnings,omitempty"` // rules that were broken and forgiven
}
