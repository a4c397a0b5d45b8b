package cedar_test

import (
	"fmt"
	"slices"
	"testing"

	cedargo "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/deploy/policies"
)

// TestEveryWordOfThePoliciesCounts: the built-in set without one of its policies, with one turned round, with less of a scope
// or of a condition, or with one name fewer in a list, is not what docs/policies.md says.
func TestEveryWordOfThePoliciesCounts(t *testing.T) {
	if raceEnabled {
		t.Skip("compiles hundreds of sets, a goroutine each: the detector finds nothing here and takes minutes")
	}
	set := map[string]cedargo.PolicyList{}
	for file, text := range policies.BuiltIn() {
		list, err := cedargo.NewPolicyListFromBytes(file, text)
		if err != nil {
			t.Fatal(err)
		}
		set[file] = list
	}
	verdicts := readPage(t).verdicts(t)
	noticed := func(files map[string][]byte) bool {
		e, err := cedar.Compile(files, options())
		return err != nil || slices.ContainsFunc(verdicts, func(v verdict) bool { return v.difference(e) != "" })
	}
	if noticed(policies.BuiltIn()) {
		t.Fatal("the built-in set is not what the page says")
	}
	for file, list := range set {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			for i, p := range list {
				for _, m := range mutants((*ast.Policy)(p.AST())) {
					files := policies.BuiltIn()
					files[file] = m.within(list, i).MarshalCedar()
					if !noticed(files) {
						t.Errorf("nobody notices %s %s", p.Annotations()["id"], m.name)
					}
				}
			}
		})
	}
}

// mutant is a policy that is a little wrong; nil when it is gone.
type mutant struct {
	name   string
	policy *cedargo.Policy
}

// within is a list with the mutant in place of the policy that it was.
func (m mutant) within(list cedargo.PolicyList, at int) cedargo.PolicyList {
	list = slices.Clone(list)
	if m.policy == nil {
		return slices.Delete(list, at, at+1)
	}
	list[at] = m.policy
	return list
}

func mutants(p *ast.Policy) []mutant {
	all := []mutant{{name: "gone"}}
	add := func(name string, change func(*ast.Policy)) {
		m := *p
		m.Conditions = slices.Clone(p.Conditions)
		change(&m)
		all = append(all, mutant{name, cedargo.NewPolicyFromAST((*publicast.Policy)(&m))})
	}
	add("turned round", func(m *ast.Policy) { m.Effect = !m.Effect })
	if _, open := p.Principal.(ast.ScopeTypeAll); !open {
		add("for everybody", func(m *ast.Policy) { m.Principal = ast.ScopeTypeAll{} })
	}
	if _, open := p.Action.(ast.ScopeTypeAll); !open {
		add("for every action", func(m *ast.Policy) { m.Action = ast.ScopeTypeAll{} })
	}
	if _, open := p.Resource.(ast.ScopeTypeAll); !open {
		add("for every resource", func(m *ast.Policy) { m.Resource = ast.ScopeTypeAll{} })
	}
	if actions, ok := p.Action.(ast.ScopeTypeInSet); ok {
		for i, a := range actions.Entities {
			add(fmt.Sprintf("without %s", a), func(m *ast.Policy) {
				m.Action = ast.ScopeTypeInSet{Entities: slices.Delete(slices.Clone(actions.Entities), i, i+1)}
			})
		}
	}
	for i, condition := range p.Conditions {
		add(fmt.Sprintf("without condition %d", i), func(m *ast.Policy) { m.Conditions = slices.Delete(m.Conditions, i, i+1) })
		for _, weaker := range weakened(condition.Body) {
			add(fmt.Sprintf("with condition %d %s", i, weaker.name), func(m *ast.Policy) { m.Conditions[i].Body = weaker.node })
		}
	}
	return all
}

type weaker struct {
	name string
	node ast.IsNode
}

// weakened is a condition without one conjunct, with one turned round, and without one element of a list.
func weakened(n ast.IsNode) (all []weaker) {
	all = append(all, weaker{"turned round", ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: n}}})
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		all = append(all, weaker{"without what comes last", n.Left}, weaker{"without what comes first", n.Right})
		for _, left := range weakened(n.Left) {
			all = append(all, weaker{left.name, ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{Left: left.node, Right: n.Right}}})
		}
		for _, right := range weakened(n.Right) {
			all = append(all, weaker{right.name, ast.NodeTypeAnd{BinaryNode: ast.BinaryNode{Left: n.Left, Right: right.node}}})
		}
	case ast.NodeTypeNot:
		for _, inner := range weakened(n.Arg) {
			all = append(all, weaker{inner.name, ast.NodeTypeNot{UnaryNode: ast.UnaryNode{Arg: inner.node}}})
		}
	case ast.NodeTypeContainsAny:
		for name, list := range shortened(n.Right) {
			all = append(all, weaker{name, ast.NodeTypeContainsAny{BinaryNode: ast.BinaryNode{Left: n.Left, Right: list}}})
		}
	case ast.NodeTypeIn:
		for name, list := range shortened(n.Right) {
			all = append(all, weaker{name, ast.NodeTypeIn{BinaryNode: ast.BinaryNode{Left: n.Left, Right: list}}})
		}
	}
	return all
}

// shortened is a list without each of its elements.
func shortened(n ast.IsNode) map[string]ast.IsNode {
	all := map[string]ast.IsNode{}
	switch list := n.(type) {
	case ast.NodeTypeSet:
		for i, element := range list.Elements {
			all[fmt.Sprintf("without element %d, %v", i, element)] = ast.NodeTypeSet{Elements: slices.Delete(slices.Clone(list.Elements), i, i+1)}
		}
	case ast.NodeValue:
		if set, ok := list.Value.(types.Set); ok {
			for element := range set.All() {
				rest := slices.DeleteFunc(set.Slice(), func(v types.Value) bool { return v.Equal(element) })
				all[fmt.Sprintf("without %s", element)] = ast.NodeValue{Value: types.NewSet(rest...)}
			}
		}
	}
	return all
}
