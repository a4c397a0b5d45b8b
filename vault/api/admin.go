package api

import "github.com/go-json-experiment/json/jsontext"

// AuditEntry is one entry of the audit log, as it was written.
type AuditEntry = jsontext.Value

// AuditQuery narrows GET /v1/audit/entries.
type AuditQuery struct {
	Subject   string
	Actor     string
	Operation string
	From, To  Time
	Limit     int
	Cursor    string
}

// FieldInfo is one field of the schema, as GET /v1/fields lists it.
type FieldInfo struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Many       bool   `json:"many,omitzero"`
	Unique     bool   `json:"unique,omitzero"`
	Searchable bool   `json:"searchable,omitzero"`
	Slice      string `json:"slice"`
	Token      string `json:"token"`
}

// Whoami answers GET /v1/whoami.
type Whoami struct {
	System   string   `json:"system"`
	Roles    []string `json:"roles"`
	Purposes []string `json:"purposes"`

	Budgets         []BudgetLeft `json:"budgets"`
	BudgetsEnforced bool         `json:"budgets_enforced"` // or only observed
}

// Readiness answers GET /readyz.
type Readiness struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded,omitempty"`
}
