package cedar

import (
	"cmp"
	"slices"

	"github.com/sandyq/sandyq/access"
)

// Explanation is how a request is decided.
type Explanation struct {
	Allowed bool   `json:"allowed"`
	Because string `json:"because,omitempty"` // what the policies were not asked for
	// Parts are the decisions that make it up: of each field, in the order given. A request about data that names no fields
	// has a part for each field that the policies can tell apart, and is allowed when one of them is.
	Parts []Part `json:"parts,omitempty"`
}

// Part is the decision on one resource.
type Part struct {
	Field    string   `json:"field,omitempty"` // empty for all of the category that policies do not name, and for what is no field
	Category string   `json:"category,omitempty"`
	Allowed  bool     `json:"allowed"`
	Policies []Policy `json:"policies,omitempty"` // that decided, by id; none when nothing permitted it
	Failure  string   `json:"failure,omitempty"`  // why policies failed to evaluate, which denies
}

// Explain decides a request as Decide does and tells how.
func (e *Engine) Explain(r access.Request) Explanation {
	if r.Refusal != nil {
		return Explanation{Because: "law forbids it: " + string(r.Refusal.Code)}
	}
	c, ok := e.take(&r)
	if !ok {
		return Explanation{Because: "a principal without a known role, an unknown action or an unknown form"}
	}
	if c.alone != nil {
		part := e.explain(&c, "", c.alone[0])
		return Explanation{Allowed: part.Allowed, Parts: []Part{part}}
	}
	x := Explanation{Allowed: len(r.Fields) > 0}
	if !x.Allowed {
		for _, of := range e.any {
			part := e.explain(&c, e.name(of), of)
			x.Allowed = x.Allowed || part.Allowed
			x.Parts = append(x.Parts, part)
		}
		return x
	}
	for _, field := range r.Fields {
		part := e.explain(&c, field, e.resource(field))
		x.Allowed = x.Allowed && part.Allowed
		x.Parts = append(x.Parts, part)
	}
	return x
}

// name is the field that a resource is; empty when it stands for all that policies do not name.
func (e *Engine) name(r *resource) string {
	if e.others[r.category] == r {
		return ""
	}
	return string(r.uid.ID)
}

func (e *Engine) explain(c *inquiry, field string, r *resource) Part {
	v := c.ask(r)
	part := Part{Field: field, Allowed: v.allowed}
	if r != nil {
		part.Category = r.category
	}
	if v.failure != nil {
		part.Failure = v.failure.Error()
	}
	for _, id := range slices.Sorted(slices.Values(v.by)) {
		if at, found := slices.BinarySearchFunc(e.policies, id, func(p *policy, id string) int { return cmp.Compare(p.id, id) }); found {
			part.Policies = append(part.Policies, e.policies[at].described())
		}
	}
	return part
}
