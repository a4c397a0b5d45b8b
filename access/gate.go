package access

import (
	"context"
	"time"

	"github.com/sandyq/sandyq/vault/fault"
)

// Decision is the answer to a Request. The zero Decision denies.
type Decision struct {
	allowed  bool
	fault    *fault.Error
	Policies []string // the policies or rules that decided, for the log
}

// Allow permits, by these policies.
func Allow(policies ...string) Decision { return Decision{allowed: true, Policies: policies} }

// Deny refuses with err as what the caller is told.
func Deny(err *fault.Error, policies ...string) Decision {
	return Decision{fault: err, Policies: policies}
}

// Allowed reports whether the decision permits.
func (d Decision) Allowed() bool { return d.allowed }

// Err is what the caller is told; nil when permitted.
func (d Decision) Err() error {
	switch {
	case d.allowed:
		return nil
	case d.fault != nil:
		return d.fault
	default:
		return fault.New(fault.Denied, "this is not permitted")
	}
}

// Decider answers requests. It is safe for concurrent use and does no I/O that can be felt. An error denies.
type Decider interface {
	Decide(ctx context.Context, r Request) (Decision, error)
}

// Grant is a permission that has been made durable. Only a Gate makes one; the zero Grant permits nothing.
type Grant struct {
	action  Action
	subject string
	at      time.Time
}

// Permits reports whether the grant is for this action on this person.
func (g Grant) Permits(a Action, subject string) bool {
	return !g.at.IsZero() && g.action == a && g.subject == subject
}

// At is when the permission became durable; leases on what it opens run from here.
func (g Grant) At() time.Time { return g.at }

// Gate is the one door. Make it with NewGate; the zero Gate denies everything.
type Gate struct {
	decider Decider
	now     func() time.Time
}

// NewGate makes a gate that asks decider.
func NewGate(decider Decider, now func() time.Time) *Gate { return &Gate{decider, now} }

// Decide answers one request. It is for refusing early: nothing follows from a permission that no Enter made durable.
func (g *Gate) Decide(ctx context.Context, r Request) Decision {
	if r.Refusal != nil {
		return Deny(r.Refusal, "rule:"+string(r.Refusal.Code))
	}
	if g == nil || g.decider == nil {
		return Decision{}
	}
	d, err := g.decider.Decide(ctx, r)
	if err != nil {
		return Deny(fault.Wrap(fault.Denied, err, "this could not be decided"), "error")
	}
	return d
}

// Enter decides the requests and hands the decisions to commit, which must make all of them, permissions and refusals
// alike, durable in one transaction with their effect. Only when commit returns nil does Enter return grants, one for
// each request in order: zero for a refused one.
func (g *Gate) Enter(ctx context.Context, requests []Request, commit func([]Decision) error) ([]Grant, []Decision, error) {
	decisions := make([]Decision, len(requests))
	for i, r := range requests {
		decisions[i] = g.Decide(ctx, r)
	}
	if err := commit(decisions); err != nil {
		return nil, nil, err
	}
	grants := make([]Grant, len(requests))
	for i, d := range decisions {
		if d.allowed {
			grants[i] = Grant{requests[i].Action, requests[i].Subject, g.now()}
		}
	}
	return grants, decisions, nil
}
