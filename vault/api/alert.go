package api

// Alert is what a webhook is told of. It names nobody but by random ids.
type Alert struct {
	ID        string `json:"id"` // the same however often it is sent
	Kind      string `json:"kind"`
	At        Time   `json:"at"`
	System    string `json:"system"` // who gave cause
	Operation string `json:"operation,omitempty"`
	Subject   string `json:"subject,omitempty"` // the vault-wide id
	Object    string `json:"object,omitempty"`  // what it is about: a break-glass, a limit
	RequestID string `json:"request_id,omitempty"`
	Count     int    `json:"count"` // how often cause was given: the first time at once, what follows within the minute together
}
