package access

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/vault/fault"
)

// roleActions says what each role may do. Which people and which fields is not a role's business: state, purpose and
// holding decide that before a decider is asked.
var roleActions = map[Role][]Action{
	Application: {
		Tokenize, Detokenize, Reveal, Search, DescribeTokens, RevokeTokens, PutDocument, OpenDocument, CreateSubject,
		ShowSubject, Rectify, Block, Unblock, RequestErasure, CancelErasure, ShowErasure, ReadConfig,
	},
	Staff: {
		Detokenize, Reveal, Search, DescribeTokens, PutDocument, OpenDocument, ShowSubject, Rectify, Block, Unblock,
		RequestErasure, ApproveErasure, CancelErasure, ShowErasure, ReadAudit, ReadConfig,
	},
	Administrator: Actions(),
}

// Roles is the Decider that goes by role alone.
type Roles struct{}

// Decide permits what the role's row permits.
func (Roles) Decide(_ context.Context, r Request) (Decision, error) {
	policy := "role:" + string(r.Principal.Role)
	if slices.Contains(roleActions[r.Principal.Role], r.Action) {
		return Allow(policy), nil
	}
	return Deny(fault.New(fault.Denied, "this role may not do that"), policy), nil
}
