package api

// AccessReview answers GET /v1/access/review: who could see what, and who did, in a period.
type AccessReview struct {
	From  Time         `json:"from"`
	To    Time         `json:"to"`
	Could []CouldSee   `json:"could"` // whose service tokens were good at some time of the period, by today's policies
	Did   []DidSee     `json:"did"`
	Limit *ReviewLimit `json:"limit,omitempty"` // what the review leaves out
}

// CouldSee is one principal, and what the policies let it read.
type CouldSee struct {
	System     string    `json:"system"`
	Role       string    `json:"role"`
	Systems    []string  `json:"systems,omitempty"` // of staff: whose people; everybody's when left out
	Department string    `json:"department,omitempty"`
	Tokens     int       `json:"tokens"` // service tokens of that kind
	LastUsedAt Time      `json:"last_used_at,omitzero"`
	May        []MayRead `json:"may"`
}

// MayRead is a reading that the policies permit, in ordinary circumstances: an active person, a purpose that stands.
type MayRead struct {
	Operation string `json:"operation"`
	Category  string `json:"category"`
	Form      Form   `json:"form"`
}

// DidSee is what one principal did of one kind.
type DidSee struct {
	System    string   `json:"system"`
	Role      string   `json:"role,omitempty"`
	Operation string   `json:"operation"`
	Purpose   string   `json:"purpose,omitempty"`
	Fields    []string `json:"fields,omitempty"`
	Permitted int      `json:"permitted"` // entries of the log
	Refused   int      `json:"refused"`
	Items     int      `json:"items"`  // values or tokens of the permitted ones
	People    int      `json:"people"` // different ones, among the permitted
	LastAt    Time     `json:"last_at"`
}

// ReviewLimit says that a review is not whole: it covers the entries until Until.
type ReviewLimit struct {
	Until Time `json:"until"`
}
