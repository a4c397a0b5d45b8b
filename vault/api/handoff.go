package api

// CreateHandoffRequest is the body of POST /v1/handoffs: another system is to get tokens of its own of what the calling
// system has tokens of.
type CreateHandoffRequest struct {
	Subject    string   `json:"subject"`
	ToSystem   string   `json:"to_system"`
	Purpose    string   `json:"purpose"` // for which the other system collects
	OnBehalfOf *Actor   `json:"on_behalf_of,omitempty"`
	Fields     []string `json:"fields"`
}

// Handoff is what the calling system gives to the other one, by whatever way they speak.
type Handoff struct {
	Handoff   string `json:"handoff"` // good once, for that system only
	ExpiresAt Time   `json:"expires_at"`
}

// RedeemHandoffRequest is the body of POST /v1/handoffs/redeem.
type RedeemHandoffRequest struct {
	Handoff    string `json:"handoff"`
	OnBehalfOf *Actor `json:"on_behalf_of,omitempty"`
}

// RedeemHandoffResponse is the person as the redeeming system knows them from now on, and its tokens of what was handed off.
type RedeemHandoffResponse struct {
	Subject string                       `json:"subject"`
	Tokens  map[string]OneOrMany[string] `json:"tokens"`
}
