package api

// SubjectRecipients answers GET /v1/subjects/{subject}/recipients: who has something of a person. To a system it tells of
// itself only.
type SubjectRecipients struct {
	Subject    string          `json:"subject"`
	Systems    []HoldingSystem `json:"systems"`   // of the operator, by name
	Transfers  []Transfer      `json:"transfers"` // to third parties, in the order they were recorded
	NextCursor string          `json:"next_cursor,omitempty"`
}

// HoldingSystem is a system that holds a person.
type HoldingSystem struct {
	System   string   `json:"system"`
	Since    Time     `json:"since"`
	Purposes []string `json:"purposes,omitempty"` // for which it collected
	Tokens   int      `json:"tokens"`             // how many it has, of values and documents
}

// Transfer is one disclosure of a person's data to a third party.
type Transfer struct {
	Transfer         string   `json:"transfer"`
	Recipient        string   `json:"recipient"`
	RecipientVersion int      `json:"recipient_version,omitzero"` // of the recipient's record; none when that comes from a file
	Purpose          string   `json:"purpose"`
	Basis            string   `json:"basis"`
	Consent          string   `json:"consent,omitempty"` // which, and the version of its record, when it rests on one
	Fields           []string `json:"fields"`
	Items            int      `json:"items,omitzero"` // values and documents; not known of what was disclosed outside the vault
	CrossBorder      bool     `json:"cross_border"`
	Reason           string   `json:"reason"`
	At               Time     `json:"at"`               // when it was disclosed
	System           string   `json:"system"`           // that disclosed it, or said so
	Outside          bool     `json:"outside,omitzero"` // disclosed outside the vault, and recorded afterwards
	RequestID        string   `json:"request_id"`
}

// RecordTransferRequest is the body of POST /v1/subjects/{subject}/transfers: a disclosure that happened outside the vault.
type RecordTransferRequest struct {
	Recipient  string   `json:"recipient"`
	Purpose    string   `json:"purpose"`
	Reason     string   `json:"reason"`
	At         Time     `json:"at"`
	Evidence   string   `json:"evidence,omitempty"` // kept sealed in the log
	OnBehalfOf *Actor   `json:"on_behalf_of,omitempty"`
	Fields     []string `json:"fields"` // "documents" for documents
}
