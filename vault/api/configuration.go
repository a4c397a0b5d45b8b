package api

// Title is a name for people, in the languages of the interface.
type Title struct {
	KK string `json:"kk" yaml:"kk"`
	RU string `json:"ru" yaml:"ru"`
	EN string `json:"en" yaml:"en"`
}

// The places that a configuration object comes from.
const (
	ManagedByFile = "file" // the configuration's file, or built in: it is changed there
	ManagedByAPI  = "api"
)

// Purpose is a purpose of processing, as GET /v1/purposes/{name} shows it and PUT takes it. What PUT takes replaces all there
// was. In a PUT, Name, ManagedBy and Version may be left out; a Version demands that it is still the current one.
type Purpose struct {
	Name             string    `json:"name,omitempty"`
	Title            Title     `json:"titles"`
	Basis            string    `json:"basis"`
	Citation         string    `json:"citation,omitempty"`
	OwnConsent       bool      `json:"own_consent,omitzero"`
	CrossBorder      bool      `json:"cross_border,omitzero"`
	Discloses        bool      `json:"discloses,omitzero"`
	Recipients       []string  `json:"recipients,omitempty"`
	IncompatibleWith []string  `json:"incompatible_with,omitempty"`
	Obligation       string    `json:"obligation,omitempty"`
	Fields           []string  `json:"fields"`
	AllFields        bool      `json:"all_fields,omitzero"` // every field of the schema, later ones too; fields is then only told
	Documents        bool      `json:"documents"`
	Retention        Retention `json:"retention"`
	Retired          bool      `json:"retired,omitzero"`
	ManagedBy        string    `json:"managed_by,omitempty"`
	Version          int       `json:"version,omitzero"` // from 1; none of a purpose that comes from a file
	ChangedAt        Time      `json:"changed_at,omitzero"`
	ChangedBy        string    `json:"changed_by,omitempty"` // the system of whoever asked for this version
	Change           string    `json:"change,omitempty"`     // the change that was approved, when approvals were needed
}

// Retention says how long data is kept for a purpose: a period of the calendar from an event on.
type Retention struct {
	After  string `json:"after"` // relationship_end, consent_end, collection
	Years  int    `json:"years,omitzero"`
	Months int    `json:"months,omitzero"`
	Days   int    `json:"days,omitzero"`
}

// Recipient is a third party that data may be disclosed to, as GET /v1/recipients/{name} shows it and PUT takes it.
type Recipient struct {
	Name        string       `json:"name,omitempty" yaml:"name"`
	Title       Title        `json:"titles" yaml:"title"`
	Country     string       `json:"country" yaml:"country"`                     // ISO 3166-1 alpha-2
	Purposes    []string     `json:"purposes" yaml:"purposes"`                   // that data may be disclosed to it for
	Fields      []string     `json:"fields,omitempty" yaml:"fields"`             // none: what the purpose allows
	CrossBorder *CrossBorder `json:"cross_border,omitempty" yaml:"cross_border"` // needed before use when the country is not KZ
	ManagedBy   string       `json:"managed_by,omitempty" yaml:"-"`
	Version     int          `json:"version,omitzero" yaml:"-"`
}

// CrossBorder is what has to stand before data leaves the country to a recipient.
type CrossBorder struct {
	Assessment   string `json:"assessment,omitempty" yaml:"assessment"` // reference of the assessment of the recipient's protection
	AssessedAt   Time   `json:"assessed_at,omitzero" yaml:"assessed_at"`
	Notification string `json:"notification,omitempty" yaml:"notification"` // reference of the notification of the authority
	NotifiedAt   Time   `json:"notified_at,omitzero" yaml:"notified_at"`
	ValidUntil   Time   `json:"valid_until,omitzero" yaml:"valid_until"` // none: without a term
}

// System is what is registered about a calling system, as GET /v1/systems/{name} shows it and PUT takes it.
type System struct {
	Name       string   `json:"name,omitempty" yaml:"name"`
	Purposes   []string `json:"purposes" yaml:"purposes"`                   // the purposes that it may name
	HandsOffTo []string `json:"hands_off_to,omitempty" yaml:"hands_off_to"` // the systems that it may hand people to
	ManagedBy  string   `json:"managed_by,omitempty" yaml:"-"`
	Version    int      `json:"version,omitzero" yaml:"-"`
}

// Policies is the set of access policies, as GET /v1/policies shows it and PUT takes it: the whole set at once. While none is
// kept in the vault, the set is the one of the server's files and is not shown.
type Policies struct {
	Files     map[string]string `json:"files"` // by name, NAME.cedar; none in a PUT: the server's files hold again
	ManagedBy string            `json:"managed_by,omitempty"`
	Version   int               `json:"version,omitzero"`
}

// ChangeState is how far a change of the configuration has come.
type ChangeState string

// The states.
const (
	ChangeSame      ChangeState = "same"    // there was nothing to change
	ChangeWaiting   ChangeState = "waiting" // for approvals
	ChangeEffective ChangeState = "effective"
	ChangeCancelled ChangeState = "cancelled"
	ChangeLapsed    ChangeState = "lapsed" // it was not approved in time
)

// Change is a change of a configuration object, as every call that asks for one or is about one answers.
type Change struct {
	Change          string      `json:"change,omitempty"` // empty when it took effect without approvals
	Kind            string      `json:"kind"`             // purpose, recipient, system, policies
	Name            string      `json:"name"`
	State           ChangeState `json:"state"`
	ApprovalsNeeded int         `json:"approvals_needed"`
	Digest          string      `json:"digest,omitempty"` // SHA-256 in hexadecimal digits of what is put to the vote
	From            *Object     `json:"from,omitempty"`   // what there was when it was asked for
	To              *Object     `json:"to,omitempty"`
	Version         int         `json:"version,omitzero"` // the one that it made, or the current one when there was nothing to change
	RequestedBy     string      `json:"requested_by,omitempty"`
	RequestedAt     Time        `json:"requested_at,omitzero"`
	LapsesAt        Time        `json:"lapses_at,omitzero"`
	DecidedAt       Time        `json:"decided_at,omitzero"`
	Approvals       []Approval  `json:"approvals,omitempty"`
}

// ApproveChangeRequest is the body of POST /v1/changes/{change}/approve.
type ApproveChangeRequest struct {
	Digest string `json:"digest,omitempty"` // what the approver saw; when it is said, it must be what is put to the vote
}

// Object is a configuration object: one of its members is there.
type Object struct {
	Purpose     *Purpose     `json:"purpose,omitempty"`
	Recipient   *Recipient   `json:"recipient,omitempty"`
	System      *System      `json:"system,omitempty"`
	Policies    *Policies    `json:"policies,omitempty"`
	ConsentText *ConsentText `json:"consent_text,omitempty"`
}
