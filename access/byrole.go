package access

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/vault/fault"
)

// ByRole is the Decider that goes by role alone.
type ByRole struct{}

// Decide permits what the role's row permits.
func (ByRole) Decide(_ context.Context, r Request) (Decision, error) {
	policy := "role:" + r.Principal.RoleNames()
	if r.Principal.Has(Administrator) || r.Principal.Has(Application) && r.Action != ApproveErasure && r.Action != ReadAudit && r.Action.On() != Configuration || r.Action == ReadConfig && len(r.Principal.Roles) > 0 ||
		r.Principal.Has(Staff) && !slices.Contains([]Action{Tokenize, RevokeTokens, CreateSubject}, r.Action) && r.Action.On() != Configuration {
		return Allow(policy), nil
	}
	return Deny(fault.New(fault.Denied, "this role may not do that"), policy), nil
}
