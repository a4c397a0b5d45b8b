package access

// Action is an operation of the API, the unit of permission and the operation of an audit entry.
type Action string

// The actions.
const (
	Tokenize       Action = "tokenize"
	Detokenize     Action = "detokenize"
	Reveal         Action = "reveal"
	Search         Action = "search"
	DescribeTokens Action = "tokens.describe"
	RevokeTokens   Action = "tokens.revoke"
	PutDocument    Action = "document.put"
	OpenDocument   Action = "document.open"

	CreateSubject   Action = "subject.create"
	ShowSubject     Action = "subject.show"
	Rectify         Action = "subject.rectify"
	Block           Action = "subject.block"
	Unblock         Action = "subject.unblock"
	RecordConsent   Action = "consent.record"
	ListConsents    Action = "consent.list"
	WithdrawConsent Action = "consent.withdraw"
	ShowProof       Action = "consent.proof"
	CreateHandoff   Action = "handoff.create"
	RedeemHandoff   Action = "handoff.redeem"
	ListRecipients  Action = "recipients.list"
	RecordTransfer  Action = "transfer.record"

	RequestErasure Action = "erasure.request"
	ApproveErasure Action = "erasure.approve"
	CancelErasure  Action = "erasure.cancel"
	ShowErasure    Action = "erasure.show"

	ReadAudit    Action = "audit.read"
	RotateLogKey Action = "log.rotate_key"
	ReviewAccess Action = "access.review"

	CreateCredential Action = "credential.create"
	ListCredentials  Action = "credential.list"
	RevokeCredential Action = "credential.revoke"
	RotateCredential Action = "credential.rotate"

	ReadConfig    Action = "configuration.read"
	ChangeConfig  Action = "configuration.change"  // systems, recipients, consent texts, policies
	ChangePurpose Action = "purpose.change"        // the request
	DecideChange  Action = "configuration.approve" // a second person's word on a change
	CancelChange  Action = "configuration.cancel"

	ListApprovals Action = "approval.list" // all that waits for somebody's word

	StartBreakGlass  Action = "breakglass.start"
	EndBreakGlass    Action = "breakglass.end" // before its time
	ListBreakGlass   Action = "breakglass.list"
	ReviewBreakGlass Action = "breakglass.review"

	MarkCanary  Action = "canary.mark"
	ReadBudgets Action = "budget.read"

	ShowIndex   Action = "index.show"
	RotateIndex Action = "index.rotate"

	TakeBackup Action = "backup.take"

	ConfirmSnapshot Action = "keys.snapshot" // of the key provider; and to see that, and whose keys are missing

	RunDrill Action = "drill.run" // and to see what came of the last ones
)

// Resource is what an action is on.
type Resource string

// The resources.
const (
	Data          Resource = "data"          // the values and documents of people, by field
	Person        Resource = "person"        // a person, without values
	Log           Resource = "log"           // who did what
	Configuration Resource = "configuration" // credentials, purposes, policies
)

// actions is every action with what it is on and the operation of the law (No. 94-V, article 1; the vocabulary of the
// operators' policies) that it is.
var actions = []struct {
	action    Action
	resource  Resource
	operation string
}{
	{Tokenize, Data, "collection"},
	{Detokenize, Data, "use"},
	{Reveal, Data, "use"},
	{Search, Data, "extraction"},
	{DescribeTokens, Person, "systematisation"},
	{RevokeTokens, Person, "systematisation"},
	{PutDocument, Data, "collection"},
	{OpenDocument, Data, "use"},
	{CreateSubject, Person, "recording"},
	{ShowSubject, Person, "systematisation"},
	{Rectify, Data, "clarification"},
	{Block, Person, "blocking"},
	{Unblock, Person, "blocking"},
	{RecordConsent, Person, "recording"},
	{ListConsents, Person, "systematisation"},
	{WithdrawConsent, Person, "recording"},
	{ShowProof, Person, "systematisation"},
	{CreateHandoff, Data, "transfer"},
	{RedeemHandoff, Data, "transfer"},
	{ListRecipients, Person, "systematisation"},
	{RecordTransfer, Person, "transfer"},
	{RequestErasure, Person, "destruction"},
	{ApproveErasure, Person, "destruction"},
	{CancelErasure, Person, "destruction"},
	{ShowErasure, Person, "systematisation"},
	{ReadAudit, Log, ""},
	{RotateLogKey, Configuration, ""},
	{ReviewAccess, Log, ""},
	{CreateCredential, Configuration, ""},
	{ListCredentials, Configuration, ""},
	{RevokeCredential, Configuration, ""},
	{RotateCredential, Configuration, ""},
	{ReadConfig, Configuration, ""},
	{ChangeConfig, Configuration, ""},
	{ChangePurpose, Configuration, ""},
	{DecideChange, Configuration, ""},
	{CancelChange, Configuration, ""},
	{ListApprovals, Log, ""},
	{StartBreakGlass, Configuration, ""},
	{EndBreakGlass, Configuration, ""},
	{ListBreakGlass, Log, ""},
	{ReviewBreakGlass, Log, ""},
	{MarkCanary, Configuration, ""},
	{ReadBudgets, Log, ""},
	{ShowIndex, Configuration, ""},
	{RotateIndex, Configuration, ""},
	{RunDrill, Configuration, ""},
	{TakeBackup, Configuration, ""},
	{ConfirmSnapshot, Configuration, ""},
}

// Actions lists every action, for tables that must miss none.
func Actions() []Action {
	all := make([]Action, len(actions))
	for i, a := range actions {
		all[i] = a.action
	}
	return all
}

var byAction = func() map[Action]int {
	places := make(map[Action]int, len(actions))
	for i, a := range actions {
		places[a.action] = i
	}
	return places
}()

// On is what the action is on; empty for what is no action.
func (a Action) On() Resource {
	if at, ok := byAction[a]; ok {
		return actions[at].resource
	}
	return ""
}

// Operation is what the law calls the action; empty for what is not done to personal data.
func (a Action) Operation() string {
	if at, ok := byAction[a]; ok {
		return actions[at].operation
	}
	return ""
}
