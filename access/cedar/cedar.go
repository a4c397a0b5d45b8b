// Package cedar decides requests by policies written in Cedar (cedarpolicy.com).
//
// # What policies speak of
//
// deploy/policies/schema.cedarschema is the published schema, and [Compile] holds every policy to it. A principal is a
// System or one of the Staff, in a Role for each role it has. An action is of package access, within the group of the
// operation that the law calls it. What is done to data is asked of each Field, in its Category; what is done to a person,
// the log or the configuration, of the one resource of that name. Everything else about a request is in the context.
//
// # Invariants
//
//   - What no policy permits is denied, and what one forbids, whatever others permit. So is a principal without a known
//     role, an unknown action or form, and a field of no category, before policies are asked.
//   - A policy that fails to evaluate denies, be it a permit or a forbid; Cedar by itself would pass over it.
//   - Every policy has an @id that is its own among all files. These are the names in [access.Decision].Policies, sorted;
//     there, [None] stands for "nothing permitted it" and [Failed] for a policy that failed to evaluate.
//   - A request with several fields is permitted when each is. One about data that names none yet is the question whether
//     to go on: it is permitted when some field would be. That answer is exact, since fields that no policy names are alike
//     but for their category.
//   - Nothing is remembered from one request to the next, and a decision does no I/O.
//
// Law is not policy: what the state of a person or the purpose forbids is refused by the gate, and no policy is asked.
package cedar

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/deploy/policies"
)

// Names in a decision's policies that are no policy's.
const (
	None   = "none"  // nothing permitted it
	Failed = "error" // a policy, named beside it, failed to evaluate
)

// Options are what policies cannot say.
type Options struct {
	// Category is the category that the schema gives a field: identity, contact, address, document or other. Any other answer,
	// as of a field that is not of the schema, denies. It is not asked about "documents", which are of category document.
	Category func(field string) string
	Now      func() time.Time
	Location *time.Location // in which context.hour and context.weekday are; nil: Asia/Almaty, UTC+05:00
}

func (o Options) category(field string) string {
	if field == documents {
		return "document"
	}
	return o.Category(field)
}

// almaty is fixed: Kazakhstan has had one time, without changes in summer, since 1 March 2024.
var almaty = time.FixedZone("Asia/Almaty", 5*60*60)

// Engine decides by one set of policies. It never changes and is safe for concurrent use.
type Engine struct {
	options  Options
	policies []*policy                   // by id
	actions  map[access.Action]*question // what each action asks, of which policies
	fields   map[string]*resource        // the fields that policies name
	others   map[string]*resource        // by category, every other field
	any      []*resource                 // all of fields and others: the fields that policies can tell apart
	entities entities                    // of actions and fields
}

// Compile reads policies: the text of each file by its name. The error is Broken: it names the file, the
// policy and the rule of all that is wrong, a line each.
func Compile(files map[string][]byte, o Options) (*Engine, error) {
	if o.Category == nil || o.Now == nil {
		return nil, errors.New("policies: no categories of fields, or no clock, to decide by")
	}
	if o.Location == nil {
		o.Location = almaty
	}
	all, err := parse(files, o)
	if err != nil {
		return nil, err
	}
	e := &Engine{options: o, policies: all}
	e.build()
	return e, nil
}

// Default is the built-in set.
func Default(o Options) *Engine { return mustCompile(policies.BuiltIn(), o) }

// Development is the built-in set, and administrators may do everything: for serve --dev, NOT SAFE for people's data.
func Development(o Options) *Engine {
	files := policies.BuiltIn()
	maps.Copy(files, policies.Development())
	return mustCompile(files, o)
}

// mustCompile panics when the binary's own policies do not compile, which its tests would have told.
func mustCompile(files map[string][]byte, o Options) *Engine {
	e, err := Compile(files, o)
	if err != nil {
		panic(fmt.Sprintf("the built-in policies: %v", err))
	}
	return e
}

// Policies lists the policies by id.
func (e *Engine) Policies() []Policy {
	all := make([]Policy, len(e.policies))
	for i, p := range e.policies {
		all[i] = p.described()
	}
	return all
}
