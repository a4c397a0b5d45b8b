package cedar

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/sandyq/sandyq/deploy/policies"
)

// vocabulary is the published schema, as policies are held to it.
type vocabulary struct {
	schema    *resolved.Schema
	validator *validate.Validator
}

var published = sync.OnceValue(func() *vocabulary {
	var text schema.Schema
	text.SetFilename("schema.cedarschema")
	if err := text.UnmarshalCedar(policies.Schema()); err != nil {
		panic(fmt.Sprintf("the published schema: %v", err))
	}
	s, err := text.Resolve()
	if err != nil {
		panic(fmt.Sprintf("the published schema: %v", err))
	}
	return &vocabulary{s, validate.New(s)}
})

// broken is how a policy breaks the schema, sorted: types, attributes and actions, as the validator of the library finds,
// and the names of fields and of what is enumerated, which it does not look at: Role::"helpdesk" would be nobody for ever.
func (v *vocabulary) broken(p *policy, o Options) (rules []string) {
	if err := v.validator.Policy("", (*ast.Policy)(p.compiled.AST())); err != nil {
		rules = strings.Split(err.Error(), "\n")
	}
	for _, name := range p.names {
		if !v.exists(name, o) {
			rules = append(rules, fmt.Sprintf("there is no %s", name))
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// exists is false of what can't be; a system or one of the staff may yet come to be.
func (v *vocabulary) exists(name types.EntityUID, o Options) bool {
	if name.Type == typeField {
		return slices.Contains(categories, o.category(string(name.ID)))
	}
	enum, ok := v.schema.Enums[name.Type]
	return !ok || slices.Contains(enum.Values, name)
}
