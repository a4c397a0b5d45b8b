package api

// MaxEvidence bounds a reference to evidence, in bytes.
const MaxEvidence = 200

// ConsentRequest is the body of POST /v1/subjects/{subject}/consents, and the consent of a tokenize item.
type ConsentRequest struct {
	Text         string   `json:"text"` // the version of the text that the person was shown
	Purposes     []string `json:"purposes"`
	Channel      string   `json:"channel"` // web_form, paper, state_service, other
	GivenAt      Time     `json:"given_at"`
	ExpiresAt    Time     `json:"expires_at,omitzero"`
	Evidence     string   `json:"evidence,omitempty"` // where the form itself is kept; sealed
	Fields       []string `json:"fields,omitempty"`   // the data list; default: all that the purposes reach
	ThirdParties []string `json:"third_parties,omitempty"`
	CrossBorder  bool     `json:"cross_border,omitzero"`
	Publication  bool     `json:"publication,omitzero"`
	GivenBy      *GivenBy `json:"given_by,omitempty"` // default: the person
}

// GivenBy is who gave a consent.
type GivenBy struct {
	Kind     string `json:"kind"`               // self, representative
	Evidence string `json:"evidence,omitempty"` // what a representative acts on; sealed
}

// ConsentState is where a consent stands.
type ConsentState string

// The states.
const (
	ConsentGiven     ConsentState = "given"
	ConsentWithdrawn ConsentState = "withdrawn"
	ConsentExpired   ConsentState = "expired"
)

// Consent is a consent as every call about it answers.
type Consent struct {
	Consent      string       `json:"consent"`
	Receipt      string       `json:"receipt,omitempty"` // only in the answer that made it: the person keeps it
	Version      int          `json:"version"`           // of the record
	State        ConsentState `json:"state"`
	Text         string       `json:"text"`
	SHA256       Languages    `json:"sha256"` // of the text, in hexadecimal digits
	Purposes     []string     `json:"purposes"`
	Fields       []string     `json:"fields"`
	Channel      string       `json:"channel"`
	GivenAt      Time         `json:"given_at"`
	GivenBy      string       `json:"given_by"` // self, representative
	ExpiresAt    Time         `json:"expires_at,omitzero"`
	RecordedAt   Time         `json:"recorded_at"`
	RecordedBy   string       `json:"recorded_by"` // the system
	ThirdParties []string     `json:"third_parties,omitempty"`
	CrossBorder  bool         `json:"cross_border,omitzero"`
	Publication  bool         `json:"publication,omitzero"`
	Evidence     string       `json:"evidence,omitempty"`            // in a list
	Authority    string       `json:"authority,omitempty"`           // what a representative acted on; in a list
	Unavailable  bool         `json:"evidence_unavailable,omitzero"` // there is evidence, and its key is out of reach
	WithdrawnAt  Time         `json:"withdrawn_at,omitzero"`
	Stopped      []string     `json:"stopped,omitempty"` // purposes for which nothing is used any more since the withdrawal
	Kept         []KeptUse    `json:"kept,omitempty"`    // purposes that an obligation keeps
}

// Languages is something in the languages of the interface.
type Languages struct {
	Kazakh  string `json:"kk"`
	Russian string `json:"ru"`
	English string `json:"en"`
}

// KeptUse is a purpose that a withdrawal does not stop.
type KeptUse struct {
	Purpose  string `json:"purpose"`
	Citation string `json:"citation"`
}

// WithdrawRequest is the body of POST /v1/subjects/{subject}/consents/{consent}/withdraw.
type WithdrawRequest struct {
	Reason string `json:"reason,omitempty"` // a short code
	Note   string `json:"note,omitempty"`
}

// ConsentTextRequest is the body of PUT /v1/consents/texts/{version}.
type ConsentTextRequest struct {
	Text          Languages `json:"text"`
	EffectiveFrom Time      `json:"effective_from"`
	Purposes      []string  `json:"purposes"`
}

// ConsentText is a version of a text that people consent to.
type ConsentText struct {
	Version       string     `json:"version"`
	Text          *Languages `json:"text,omitempty"` // not in lists
	SHA256        Languages  `json:"sha256"`         // in hexadecimal digits
	EffectiveFrom Time       `json:"effective_from"`
	Purposes      []string   `json:"purposes"`
	Final         bool       `json:"final"` // it does not change any more
	ManagedBy     string     `json:"managed_by"`
}

// ProofRequest is the body of POST /v1/consents/proof.
type ProofRequest struct {
	Receipt string `json:"receipt"`
}

// ConsentProof is what is kept of a consent beyond its person: nothing of it says whose it was.
type ConsentProof struct {
	Receipt     string    `json:"receipt"`
	Text        string    `json:"text"`
	SHA256      Languages `json:"sha256"`
	Purposes    []string  `json:"purposes"`
	Channel     string    `json:"channel"`
	GivenAt     Time      `json:"given_at"`
	GivenBy     string    `json:"given_by"`
	ExpiresAt   Time      `json:"expires_at,omitzero"`
	WithdrawnAt Time      `json:"withdrawn_at,omitzero"`
	KeptFor     []string  `json:"kept_for,omitempty"` // purposes that an obligation kept when it was withdrawn
	RecordedBy  string    `json:"recorded_by"`
}

// MissingConsent is a person whose data is used on the ground of a consent that is not on record.
type MissingConsent struct {
	Subject  string   `json:"subject"`
	Purposes []string `json:"purposes"`
}
