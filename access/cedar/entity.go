package cedar

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/sandyq/sandyq/access"
)

// The entity types of the schema.
const (
	typeRole     types.EntityType = "Role"
	typeCategory types.EntityType = "Category"
	typeSystem   types.EntityType = "System"
	typeStaff    types.EntityType = "Staff"
	typeAction   types.EntityType = "Action"
	typeField    types.EntityType = "Field"
)

// The one resource of each kind that has no fields.
var singular = map[access.Resource]types.EntityUID{
	access.Person:        {Type: "Person", ID: "any"},
	access.Log:           {Type: "Log", ID: "log"},
	access.Configuration: {Type: "Configuration", ID: "configuration"},
}

// categories are those of the schema.
var categories = []string{"identity", "contact", "address", "document", "other"}

// documents is the field that a person's documents are; category document whatever the schema of the person says.
const documents = "documents"

// entities are what a decision's entities are looked up in, beside the principal.
type entities = types.EntityMap

// question is what an action asks, before it is known by whom and of what.
type question struct {
	action    types.EntityUID
	asked     asked
	principal []attribute // that the policies asked can read
	context   []attribute
	alone     []*resource // what it is asked of; nil for the fields of a request
}

// asked are the policies that can apply to an action, by id, each without the scope that says so: a list of actions is
// slow to look through. Leaving out the others changes no decision and hides no error.
type asked []namedPolicy

type namedPolicy struct {
	id       cedar.PolicyID
	compiled *cedar.Policy
}

// All is how the library reads policies.
func (a asked) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range a {
			if !yield(p.id, p.compiled) {
				return
			}
		}
	}
}

// resource is something an action is asked of.
type resource struct {
	uid      types.EntityUID
	category string // of fields
}

// build makes everything that does not depend on a request, of policies that were checked.
func (e *Engine) build() {
	e.entities = entities{}
	e.buildFields()
	e.buildActions()
}

// buildFields makes an entity for each field that policies name, and for each category one that stands for all others.
func (e *Engine) buildFields() {
	e.fields, e.others = map[string]*resource{}, map[string]*resource{}
	for _, category := range categories {
		e.others[category] = e.addField("", category)
	}
	for _, p := range e.policies {
		for _, name := range p.names {
			field := string(name.ID)
			if name.Type == typeField && e.fields[field] == nil {
				e.fields[field] = e.addField(field, e.options.category(field))
			}
		}
	}
	slices.SortFunc(e.any, func(a, b *resource) int {
		return cmp.Or(cmp.Compare(a.category, b.category), cmp.Compare(a.uid.ID, b.uid.ID))
	})
}

// addField makes the entity of a field; without a name, of every field of the category that has no entity of its own. Its
// id then is what no field can be called.
func (e *Engine) addField(name, category string) *resource {
	if name == "" {
		name = "(" + category + ")"
	}
	r := &resource{types.NewEntityUID(typeField, types.String(name)), category}
	e.entities[r.uid] = types.Entity{
		UID:     r.uid,
		Parents: types.NewEntityUIDSet(types.NewEntityUID(typeCategory, types.String(category))),
	}
	e.any = append(e.any, r)
	return r
}

// buildActions makes an entity of each action, within its operation, and finds the policies that can apply to it.
func (e *Engine) buildActions() {
	e.actions = map[access.Action]*question{}
	for _, a := range access.Actions() {
		entity := types.Entity{UID: types.NewEntityUID(typeAction, types.String(a))}
		if operation := a.Operation(); operation != "" {
			entity.Parents = types.NewEntityUIDSet(types.NewEntityUID(typeAction, types.String(operation)))
		}
		e.entities[entity.UID] = entity
		e.actions[a] = e.ask(a, entity)
	}
}

// ask makes the question of an action.
func (e *Engine) ask(a access.Action, entity types.Entity) *question {
	q := &question{action: entity.UID}
	if uid, ok := singular[a.On()]; ok {
		q.alone = []*resource{{uid: uid}}
	}
	names := map[types.String]bool{}
	for _, p := range e.policies {
		if !p.asks(entity) {
			continue
		}
		text := *p.compiled.AST()
		text.Action = ast.Scope{}.All()
		q.asked = append(q.asked, namedPolicy{cedar.PolicyID(p.id), cedar.NewPolicyFromAST(&text)})
		maps.Copy(names, attributesNamed((*ast.Policy)(&text)))
	}
	q.principal, q.context = only(principalAttributes, names), only(contextAttributes, names)
	return q
}
