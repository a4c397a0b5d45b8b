package api

// CreateServiceTokenRequest is the body of POST /v1/access/tokens.
type CreateServiceTokenRequest struct {
	System     string   `json:"system"`
	Role       string   `json:"role"`
	Systems    []string `json:"systems,omitzero"`     // of staff: whose people and tokens they may see; all when left out (nil)
	Department string   `json:"department,omitempty"` // of staff
	ExpiresAt  Time     `json:"expires_at,omitzero"`  // never when left out
}

// RotateServiceTokenRequest is the body of POST /v1/access/tokens/{id}/rotate.
type RotateServiceTokenRequest struct {
	Overlap   int  `json:"overlap_seconds"`     // how long the old token goes on working
	ExpiresAt Time `json:"expires_at,omitzero"` // of the new one; never when left out
}

// ServiceToken is a service token; Secret only in the answer that made it.
type ServiceToken struct {
	ID         string   `json:"id"`
	System     string   `json:"system"`
	Role       string   `json:"role"`
	Systems    []string `json:"systems,omitempty"`
	Department string   `json:"department,omitempty"`
	CreatedAt  Time     `json:"created_at"`
	ExpiresAt  Time     `json:"expires_at,omitzero"`
	RevokedAt  Time     `json:"revoked_at,omitzero"`
	LastUsedAt Time     `json:"last_used_at,omitzero"` // to the minute or two
	Replaces   string   `json:"replaces,omitempty"`    // the one that it was rotated from
	Secret     string   `json:"token,omitempty"`
}
