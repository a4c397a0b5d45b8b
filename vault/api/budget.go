package api

// Budgets answers GET /v1/access/budgets: the limits that hold, what was used, and what that suggests.
type Budgets struct {
	Enforced  bool            `json:"enforced"` // or only observed
	Limits    []BudgetLimit   `json:"limits"`
	Suggested []BudgetLimit   `json:"suggested"`
	Accounts  []BudgetAccount `json:"accounts"`
}

// BudgetLimit is a budget for everybody whom it matches, to each their own; what is left out matches all. Minute, Hour and
// Day are the units that such a window holds; 0 is no bound.
type BudgetLimit struct {
	Name     string   `json:"name"`
	System   string   `json:"system,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Purpose  string   `json:"purpose,omitempty"`
	Category string   `json:"category,omitempty"`
	Kind     string   `json:"kind,omitempty"` // read or search
	Minute   int64    `json:"minute,omitzero"`
	Hour     int64    `json:"hour,omitzero"`
	Day      int64    `json:"day,omitzero"`
}

// BudgetAccount is what one system has used of a limit, of one kind of window.
type BudgetAccount struct {
	Limit   string `json:"limit"`
	System  string `json:"system"`
	Window  string `json:"window"`  // minute, hour or day
	Windows int    `json:"windows"` // in which it used any
	Most    int64  `json:"most"`    // units in one of them
	Units   int64  `json:"units"`   // in all of them
}

// BudgetLeft is what is left to the caller of one window of a limit.
type BudgetLeft struct {
	Limit    string `json:"limit"`
	Window   string `json:"window"`
	Max      int64  `json:"limit_value"`
	Left     int64  `json:"left"` // about: other nodes may have spent of it
	ResetsAt Time   `json:"resets_at"`
}
