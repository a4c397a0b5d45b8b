package cedar

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Policy describes one policy.
type Policy struct {
	ID          string            `json:"id"`
	File        string            `json:"file"`
	Line        int               `json:"line"`
	Effect      Effect            `json:"effect"`
	Annotations map[string]string `json:"annotations,omitempty"` // but for the id
}

// Effect is what a policy does to what it applies to.
type Effect string

// The effects.
const (
	Permit Effect = "permit"
	Forbid Effect = "forbid"
)

// policy is one policy as it is evaluated.
type policy struct {
	id       string
	compiled *cedar.Policy
	names    []types.EntityUID // the entities that its text names
}

func (p *policy) described() Policy {
	position := p.compiled.Position()
	d := Policy{ID: p.id, File: position.Filename, Line: position.Line, Effect: Permit}
	if p.compiled.Effect() == cedar.Forbid {
		d.Effect = Forbid
	}
	for key, value := range p.compiled.Annotations() {
		if key == "id" {
			continue
		}
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[string(key)] = string(value)
	}
	return d
}

// maxFile bounds the text of one file, in bytes: it is read by recursive descent.
const maxFile = 256 << 10

// validID keeps names in audit entries small and without what would need escaping.
var validID = regexp.MustCompile(`^[a-z0-9._-]{1,60}$`)

// parse reads and checks all files, and returns the policies by id.
func parse(files map[string][]byte, o Options) (all []*policy, err error) {
	var wrong Broken
	seen := map[string]*policy{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if len(files[file]) > maxFile {
			wrong = append(wrong, flaw(file, fmt.Sprintf("larger than %d KiB", maxFile>>10)))
			continue
		}
		list, err := cedar.NewPolicyListFromBytes(file, files[file])
		if err != nil {
			wrong = append(wrong, unparsed(file, err))
			continue
		}
		for _, compiled := range list {
			p := &policy{compiled: compiled, names: named((*ast.Policy)(compiled.AST()))}
			wrong = append(wrong, p.check(seen, o)...)
			all = append(all, p)
		}
	}
	if len(wrong) == 0 && len(all) == 0 {
		wrong = append(wrong, flaw("", "there is no policy, so nobody could do anything"))
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	slices.SortFunc(all, func(a, b *policy) int { return cmp.Compare(a.id, b.id) })
	return all, nil
}

// maxDepth is how many levels of expressions a condition may have. What it costs to hold a policy to the schema, and how much
// there is to say of one that breaks it, grow with the square of them.
const maxDepth = 64

// deep reports whether an expression has more levels than so many.
func deep(n ast.IsNode, levels int) (is bool) {
	root := true
	ast.Inspect(ast.NewNode(n), func(below ast.IsNode) bool {
		if root {
			root = false
			is = levels == 0
			return !is
		}
		is = is || deep(below, levels-1)
		return false
	})
	return is
}

// check gives a policy its id, which none that was seen may have, and holds it to the schema.
func (p *policy) check(seen map[string]*policy, o Options) (wrong Broken) {
	position := p.compiled.Position()
	at := fmt.Sprintf("%s:%d", position.Filename, position.Line)
	p.id = string(p.compiled.Annotations()["id"])
	if !validID.MatchString(p.id) || p.id == None || p.id == Failed {
		return Broken{flaw(at, fmt.Sprintf(`a policy needs an @id("…") of at most 60 of a-z, 0-9, ".", "_" and "-", other than %q and %q`, None, Failed))}
	}
	if first, ok := seen[p.id]; ok {
		position := first.compiled.Position()
		taken := fmt.Sprintf("the @id is taken at %s:%d", position.Filename, position.Line)
		return Broken{{at, taken, fmt.Sprintf("%s: policy %q: %s", at, p.id, taken)}}
	}
	seen[p.id] = p
	for _, condition := range p.compiled.AST().Conditions {
		if deep(condition.Body, maxDepth) {
			rule := fmt.Sprintf("a condition is nested more than %d levels deep", maxDepth)
			return Broken{{at, rule, fmt.Sprintf("%s: policy %q: %s", at, p.id, rule)}}
		}
	}
	for _, rule := range published().broken(p, o) {
		wrong = append(wrong, p.against(at, rule))
	}
	return wrong
}

// named is the entities that the text of a policy names.
func named(p *ast.Policy) (names []types.EntityUID) {
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Action, p.Resource} {
		names = append(names, namedInScope(scope)...)
	}
	for _, condition := range p.Conditions {
		ast.Inspect(ast.NewNode(condition.Body), func(n ast.IsNode) bool {
			if value, ok := n.(ast.NodeValue); ok {
				if uid, ok := value.Value.(types.EntityUID); ok {
					names = append(names, uid)
				}
			}
			return true
		})
	}
	return names
}

func namedInScope(scope ast.IsScopeNode) []types.EntityUID {
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeIsIn:
		return []types.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	default: // all, or all of a type
		return nil
	}
}

// asks reports whether a policy can apply to an action, as its scope says: it names the action, a group it is in, or none.
func (p *policy) asks(action types.Entity) bool {
	switch s := p.compiled.AST().Action.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == action.UID
	case ast.ScopeTypeIn:
		return s.Entity == action.UID || action.Parents.Contains(s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, func(one types.EntityUID) bool {
			return one == action.UID || action.Parents.Contains(one)
		})
	default:
		return true
	}
}
