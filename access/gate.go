package access

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/vault/fault"
)

// Decision is the answer to a Request. The zero Decision denies.
type Decision struct {
	allowed  bool
	fault    *fault.Error
	Policies []string // the policies or rules that decided, sorted, for the log
	Form     Form     // in which a reading is permitted; the request's unless that was Allowed
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

// Decider answers requests: about all fields of a request together, so that one that is denied denies it, and in the form
// it names, Plain or Masked. It is safe for concurrent use and does no I/O that can be felt. An error denies.
type Decider interface {
	Decide(ctx context.Context, r Request) (Decision, error)
}

// Grant is a permission that has been made durable. Only a Gate makes one; the zero Grant permits nothing.
type Grant struct {
	durable bool
	action  Action
	subject string
	form    Form
}

// Form is the form in which a reading was permitted.
func (g Grant) Form() Form { return g.form }

// Permits reports whether the grant is for this action on this person.
func (g Grant) Permits(a Action, subject string) bool {
	return g.durable && g.action == a && g.subject == subject
}

// Gate is the one door. Make it with NewGate; the zero Gate denies everything.
type Gate struct{ decider Decider }

// NewGate makes a gate that asks decider.
func NewGate(decider Decider) *Gate { return &Gate{decider} }

// Decide answers one request. It is for refusing early: nothing follows from a permission that no Enter made durable.
func (g *Gate) Decide(ctx context.Context, r Request) Decision {
	if r.Refusal != nil {
		return Deny(r.Refusal, "rule:"+string(r.Refusal.Code))
	}
	if g == nil || g.decider == nil {
		return Decision{}
	}
	if r.Form != Allowed {
		return g.ask(ctx, r)
	}
	r.Form = Plain
	if d := g.ask(ctx, r); d.allowed {
		return d
	}
	r.Form = Masked
	return g.ask(ctx, r)
}

func (g *Gate) ask(ctx context.Context, r Request) Decision {
	d, err := g.decider.Decide(ctx, r)
	if err != nil {
		return Deny(fault.Wrap(fault.Denied, err, "this could not be decided"), "error")
	}
	d.Form = r.Form
	return d
}

// alike reports whether every decider must answer both requests alike: they differ in the person at most.
func (r *Request) alike(q *Request) bool {
	return r.Action == q.Action && r.Purpose == q.Purpose && r.Form == q.Form && r.State == q.State && r.Basis == q.Basis &&
		r.Recipient == q.Recipient && r.Count == q.Count && r.Approvals == q.Approvals && r.BreakGlass == q.BreakGlass &&
		r.Reason == q.Reason && r.Behalf.Actor == q.Behalf.Actor && r.Behalf.Verified == q.Behalf.Verified &&
		(r.Subject == "") == (q.Subject == "") && r.Principal.Same(q.Principal) &&
		r.Refusal == nil && q.Refusal == nil && slices.Equal(r.Fields, q.Fields)
}

// Enter decides the requests and hands the decisions to commit, which must make all of them, permissions and refusals
// alike, durable in one transaction with their effect, and says which it did (nil: all). A decision may have gone stale
// meanwhile; it is not durable and the caller asks again. Enter returns grants in the order of requests, zero for what was
// refused or is not durable, and none at all when commit fails.
func (g *Gate) Enter(ctx context.Context, requests []Request, commit func([]Decision) (durable []bool, err error)) ([]Grant, error) {
	decisions := make([]Decision, len(requests))
	for i := range requests {
		if i > 0 && requests[i].alike(&requests[i-1]) {
			decisions[i] = decisions[i-1]
			continue
		}
		decisions[i] = g.Decide(ctx, requests[i])
	}
	durable, err := commit(decisions)
	if err != nil {
		return nil, err
	}
	grants := make([]Grant, len(requests))
	for i, d := range decisions {
		if d.allowed && (durable == nil || durable[i]) {
			grants[i] = Grant{true, requests[i].Action, requests[i].Subject, d.Form}
		}
	}
	return grants, nil
}
