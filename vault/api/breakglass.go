package api

// MaxBreakGlass is how many minutes an emergency may last.
const MaxBreakGlass = 240

// BreakGlassRequest is the body of POST /v1/break-glass.
type BreakGlassRequest struct {
	Reason  string `json:"reason"`
	Note    string `json:"note,omitempty"` // only with a subject
	Minutes int    `json:"minutes"`        // 1 to MaxBreakGlass
	Purpose string `json:"purpose"`        // for which alone it holds
	Subject string `json:"subject,omitempty"`
}

// BreakGlassReviewRequest is the body of POST /v1/break-glass/{emergency}/review.
type BreakGlassReviewRequest struct {
	Outcome string `json:"outcome"`        // justified or misuse
	Note    string `json:"note,omitempty"` // only when the emergency was about a person
}

// BreakGlass is an emergency that one of the staff has declared.
type BreakGlass struct {
	BreakGlass    string             `json:"break_glass"`
	System        string             `json:"system"` // who declared it
	Reason        string             `json:"reason"`
	Purpose       string             `json:"purpose"`
	Subject       string             `json:"subject,omitempty"` // about whom alone it is
	StartedAt     Time               `json:"started_at"`
	ExpiresAt     Time               `json:"expires_at"`
	EndedAt       Time               `json:"ended_at,omitzero"` // before it expired
	Uses          int                `json:"uses"`              // entries of the log, permitted, that were made in it
	ReviewsNeeded int                `json:"reviews_needed"`    // how many more
	Reviews       []BreakGlassReview `json:"reviews"`
}

// BreakGlassReview is one reviewer's word.
type BreakGlassReview struct {
	BySystem string   `json:"by_system"`
	Roles    []string `json:"roles"`
	At       Time     `json:"at"`
	Outcome  string   `json:"outcome"`
}
