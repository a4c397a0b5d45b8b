package api

// Approval is one approver's word.
type Approval struct {
	BySystem string   `json:"by_system"` // the name that the approver goes by in the log
	Roles    []string `json:"roles"`     // as they were then
	At       Time     `json:"at"`
	Digest   string   `json:"digest"` // of what was put to the vote
}

// The kinds of what waits for somebody's word.
const (
	WaitingErasure    = "erasure"
	WaitingChange     = "change" // of the configuration
	WaitingBreakGlass = "break_glass"
)

// Waiting is one thing that waits for somebody's word, as GET /v1/approvals lists it. The call about the thing itself shows
// the rest.
type Waiting struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	RequestedBy string   `json:"requested_by"` // the name that the log knows them by
	At          Time     `json:"at"`
	Expires     Time     `json:"expires,omitzero"` // when it lapses; never when it is left out
	Missing     int      `json:"missing"`          // how many more have to agree
	Roles       []string `json:"roles,omitempty"`  // one of which an approver has; any that a policy lets approve when left out
	Digest      string   `json:"digest,omitempty"` // of what is put to the vote
}
