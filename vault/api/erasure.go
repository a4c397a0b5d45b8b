package api

// Scope narrows an erasure to a part of a person. A slice has a key of its own and can be erased alone; fields and documents have
// none, and are refused.
type Scope struct {
	Slices    []string `json:"slices,omitempty"`
	Fields    []string `json:"fields,omitempty"`
	Documents []string `json:"documents,omitempty"`
}

// ErasureRequest is the body of POST /v1/erasures.
type ErasureRequest struct {
	Subject string `json:"subject"`
	Ground  string `json:"ground"` // request, withdrawal, purpose_reached, unlawful, court, other
	Reason  string `json:"reason"`
	Note    string `json:"note,omitempty"`
	DryRun  bool   `json:"dry_run,omitzero"`
	Scope   *Scope `json:"scope,omitempty"`
}

// ErasureApproval is the body of POST /v1/erasures/{erasure}/approve, which may be left out.
type ErasureApproval struct {
	Digest string `json:"digest,omitempty"` // what the approver was shown; when it is not what is put to the vote, 409
}

// ErasureState is how far an erasure has come. The person is unreadable from Erasing on.
type ErasureState string

// The states, in order; Cancelled ends one that had not begun to destroy.
const (
	ErasureRequested    ErasureState = "requested"
	ErasureApproved     ErasureState = "approved"
	ErasureErasing      ErasureState = "erasing"
	ErasureKeyDestroyed ErasureState = "key_destroyed"
	ErasureErased       ErasureState = "erased"
	ErasureCancelled    ErasureState = "cancelled"
)

// Erasure is an erasure as every call about it answers.
type Erasure struct {
	Erasure         string       `json:"erasure,omitempty"` // empty in a dry run
	Subject         string       `json:"subject,omitempty"`
	State           ErasureState `json:"state,omitempty"`
	DryRun          bool         `json:"dry_run,omitzero"`
	Ground          string       `json:"ground,omitempty"`
	Reason          string       `json:"reason,omitempty"`
	ApprovalsNeeded int          `json:"approvals_needed"`
	WillDestroy     *Counts      `json:"will_destroy,omitempty"` // as counted when the destruction began, or would now
	Kept            []Kept       `json:"kept"`
	Scope           *Scope       `json:"scope,omitempty"`     // what goes when it is not the whole person
	Digest          string       `json:"digest,omitempty"`    // what an approver is shown, as it was requested; to staff
	Approvals       []Approval   `json:"approvals,omitempty"` // the words given; to staff
	ExpiresAt       Time         `json:"expires_at,omitzero"` // when it is cancelled, unless it is approved before
	RequestedAt     Time         `json:"requested_at,omitzero"`
	ErasingAt       Time         `json:"erasing_at,omitzero"`
	KeyDestroyedAt  Time         `json:"key_destroyed_at,omitzero"`
	ErasedAt        Time         `json:"erased_at,omitzero"`
	RemovedAt       Time         `json:"removed_at,omitzero"` // when it was measured that the store's files hold nothing of it
}

// Counts says how much goes.
type Counts struct {
	Keys         int `json:"keys"`
	Fields       int `json:"fields"` // values of fields
	Documents    int `json:"documents"`
	Parts        int `json:"parts"`
	Tokens       int `json:"tokens"`
	IndexEntries int `json:"index_entries"`
}

// Kept is what law keeps, and until when.
type Kept struct {
	Citation string `json:"citation"`
	Count    int    `json:"count,omitzero"` // of what is counted
	Until    Time   `json:"until,omitzero"`
}
