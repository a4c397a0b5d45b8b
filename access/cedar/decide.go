package cedar

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
)

// Decide answers a request; see the package's invariants. It never returns an error beside the decision: what failed to
// evaluate is the cause of a refusal that names the policy.
func (e *Engine) Decide(_ context.Context, r access.Request) (access.Decision, error) {
	c, ok := e.take(&r)
	if !ok {
		return refusal(nil, []string{None}), nil
	}
	var room [4]*resource
	resources, some := e.resources(c.question, r.Fields, room[:0])
	return c.askAll(resources, some).decision(), nil
}

// inquiry is a request as policies see it, but for what it is asked of. It is what the library looks entities up in.
type inquiry struct {
	*question
	principal types.Entity
	context   types.Record
	entities  entities
}

// Get finds an entity.
func (c *inquiry) Get(uid types.EntityUID) (types.Entity, bool) {
	if uid == c.principal.UID {
		return c.principal, true
	}
	found, ok := c.entities[uid]
	return found, ok
}

// take makes an inquiry of a request, and false of one that no policy may decide: by a principal without a known role, for
// an unknown action, or in an unknown form.
func (e *Engine) take(r *access.Request) (inquiry, bool) {
	q, known := e.actions[r.Action]
	roles := rolesOf(r.Principal.Roles)
	if !known || roles.empty() || r.Form != "" && r.Form != access.Plain && r.Form != access.Masked {
		return inquiry{}, false
	}
	kind := typeSystem
	if r.Principal.VaultWide() {
		kind = typeStaff
	}
	return inquiry{
		question: q,
		principal: types.Entity{
			UID:        types.NewEntityUID(kind, types.String(r.Principal.System)),
			Parents:    roles.parents,
			Attributes: record(q.principal, r, &e.options),
		},
		context:  record(q.context, r, &e.options),
		entities: e.entities,
	}, true
}

// resources is what an action is asked of, appended to room: of fields that policies cannot tell apart, one. Each must be
// permitted, unless some is set: then one must. A nil resource is a field of no category.
func (e *Engine) resources(q *question, fields []string, room []*resource) (of []*resource, some bool) {
	switch {
	case q.alone != nil:
		return q.alone, false
	case len(fields) == 0:
		return e.any, true
	}
	for _, f := range fields {
		if r := e.resource(f); !slices.Contains(room, r) {
			room = append(room, r)
		}
	}
	return room, false
}

func (e *Engine) resource(field string) *resource {
	if r, ok := e.fields[field]; ok {
		return r
	}
	return e.others[e.options.category(field)]
}

// verdict is what the policies say of one resource, or of several together.
type verdict struct {
	allowed bool
	by      []string // the policies that decided; not sorted
	failure error    // why policies failed to evaluate
}

// ask evaluates the policies on one resource.
func (c *inquiry) ask(r *resource) verdict {
	if r == nil {
		return verdict{by: []string{None}}
	}
	decision, d := cedar.Authorize(c.asked, c, cedar.Request{
		Principal: c.principal.UID, Action: c.action, Resource: r.uid, Context: c.context,
	})
	if len(d.Errors) > 0 {
		return failed(d.Errors)
	}
	if len(d.Reasons) == 0 {
		return verdict{by: []string{None}}
	}
	by := make([]string, len(d.Reasons))
	for i, reason := range d.Reasons {
		by[i] = string(reason.PolicyID)
	}
	return verdict{allowed: bool(decision), by: by}
}

func failed(failures []cedar.DiagnosticError) verdict {
	v := verdict{by: []string{Failed}}
	var wrong []error
	for _, f := range failures {
		v.by = append(v.by, string(f.PolicyID))
		wrong = append(wrong, fmt.Errorf("policy %s: %s", f.PolicyID, f.Message))
	}
	v.failure = errors.Join(wrong...)
	return v
}

// askAll evaluates the policies on several resources: a refusal names what refused any of them, a permission what permitted
// them all. Where one is enough, so is the first that is permitted.
func (c *inquiry) askAll(resources []*resource, some bool) verdict {
	allowed, denied := verdict{allowed: true}, verdict{}
	for _, r := range resources {
		v := c.ask(r)
		if !v.allowed {
			denied.by, denied.failure = append(denied.by, v.by...), errors.Join(denied.failure, v.failure)
			continue
		}
		if some {
			return v
		}
		allowed.by = append(allowed.by, v.by...)
	}
	if len(denied.by) > 0 {
		return denied
	}
	return allowed
}

// decision is a verdict as the gate takes it.
func (v verdict) decision() access.Decision {
	slices.Sort(v.by)
	v.by = slices.Compact(v.by)
	if v.allowed {
		return access.Allow(v.by...)
	}
	return refusal(v.failure, v.by)
}

// refusal says why no more precisely than by kind: which policies there are is not for the caller to learn.
func refusal(failure error, by []string) access.Decision {
	switch {
	case failure != nil:
		return access.Deny(fault.Wrap(fault.Denied, failure, "this could not be decided"), by...)
	case slices.Contains(by, None):
		return access.Deny(fault.New(fault.Denied, "no policy permits this"), by...)
	default:
		return access.Deny(fault.New(fault.Denied, "a policy forbids this"), by...)
	}
}
