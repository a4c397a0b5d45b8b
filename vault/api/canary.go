package api

// MarkCanaryRequest is the body of POST /v1/canaries: one of the two.
type MarkCanaryRequest struct {
	Subject string `json:"subject,omitempty"` // the vault-wide id
	Token   string `json:"token,omitempty"`
}

// CanaryKind is what a canary is.
type CanaryKind string

// The kinds.
const (
	CanaryPerson CanaryKind = "person"
	CanaryToken  CanaryKind = "token" // this token of the person's alone
)

// Canary is a person, or a token, that nobody has cause to use. The token itself is not told.
type Canary struct {
	ID       string     `json:"id"`
	Kind     CanaryKind `json:"kind"`
	Subject  string     `json:"subject"`          // the vault-wide id
	System   string     `json:"system,omitempty"` // whose the token is
	Field    string     `json:"field,omitempty"`  // that it stands for
	MarkedAt Time       `json:"marked_at"`
	MarkedBy string     `json:"marked_by"`
}
