package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/sandyq/sandyq/access"
)

// drillActions are what a drill does through the door that everybody's calls go through.
var drillActions = []access.Action{access.Tokenize, access.PutDocument, access.Detokenize, access.OpenDocument, access.Search}

// gateOf is the gate of a decider: it decides on everybody's calls but those of drills, which no policy is to be written for.
func (s *Service) gateOf(decider access.Decider) *access.Gate {
	return access.NewGate(drillDecider{s, decider})
}

// drillDecider permits the drill that runs to register people and to read them. It is a system, so the people and the tokens
// are its own and nobody else's. No credential is let in under the vault's own name (see Authenticate), and the drill's is
// drawn anew for each.
type drillDecider struct {
	service *Service
	others  access.Decider
}

// Decide implements access.Decider.
func (d drillDecider) Decide(ctx context.Context, r access.Request) (access.Decision, error) {
	if !drills(r.Principal) {
		return d.others.Decide(ctx, r)
	}
	runs := d.service.drilling.Load()
	if runs == nil || r.Principal.Credential != runs.row.Run.String() || !slices.Contains(drillActions, r.Action) {
		return access.Decision{}, nil
	}
	return access.Allow("rule:drill"), nil
}

// drills reports whether a principal is a drill, of whatever service.
func drills(p access.Principal) bool {
	return p.System == itself && strings.HasPrefix(p.Credential, drillPrefix)
}

// call is how a drill calls.
func (d *drill) call() Call {
	return Call{
		Principal: access.Principal{
			Tenant: d.Tenant, System: itself, Credential: d.row.Run.String(), Roles: []access.Role{access.Application},
		},
		RequestID: d.row.Run.String(),
	}
}

// operationOf is what the log calls what a principal does: a drill's steps are told apart from work.
func operationOf(p access.Principal, a access.Action) string {
	if drills(p) {
		return "drill." + string(a)
	}
	return string(a)
}
