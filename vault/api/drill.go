package api

// DrillState is how a canary drill stands.
type DrillState string

// The states.
const (
	DrillRunning DrillState = "running"
	DrillPassed  DrillState = "passed"
	DrillFailed  DrillState = "failed"
)

// Drill is the answer of POST /v1/drills: a canary drill.
type Drill struct {
	Drill     string      `json:"drill"` // drl_…
	State     DrillState  `json:"state"`
	StartedAt Time        `json:"started_at"`
	EndedAt   Time        `json:"ended_at,omitzero"`
	Failure   string      `json:"failure,omitempty"` // the code of the first step that failed
	Steps     []DrillStep `json:"steps"`             // that were gone through; none while it runs
}

// DrillStep is a step of a drill.
type DrillStep struct {
	Step         string `json:"step"`
	Milliseconds int64  `json:"milliseconds"`
	Failure      string `json:"failure,omitempty"` // a code; absent: it passed
}
