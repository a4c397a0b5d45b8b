package hashicorp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
)

// grant is one stanza of a policy: what it says of a path.
type grant struct {
	path         string   // as written
	capabilities []string // sorted, no two alike
	more         []string // what else it says, by name
}

// wanted is what an identity's policy grants, by path as written.
func (who identified) wanted(n names) (map[string][]string, error) {
	text, err := who.policy.Render(n.mount, n.tenant)
	if err != nil {
		return nil, err
	}
	grants, err := parsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", who.policy, err)
	}
	wanted := make(map[string][]string, len(grants))
	for _, g := range grants {
		wanted[g.path] = g.capabilities
	}
	return wanted, nil
}

var errNotUnderstood = errors.New("it is not written as policies are")

// parsePolicy reads a policy in HCL or JSON by the parser that Vault uses, and more strictly than Vault: what could be read in two ways
// is refused.
func parsePolicy(text string) ([]grant, error) {
	file, err := hcl.Parse(text)
	if err != nil { // whose text quotes the policy
		return nil, errNotUnderstood
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errNotUnderstood
	}
	var grants []grant
	for _, item := range list.Items {
		switch key, _ := keyOf(item, 0); {
		case key == "name" && len(item.Keys) == 1:
			continue
		case key != "path" || len(item.Keys) != 2:
			return nil, errNotUnderstood
		}
		g, err := parseGrant(item)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func parseGrant(item *ast.ObjectItem) (g grant, err error) {
	body, ok := item.Val.(*ast.ObjectType)
	g.path, err = keyOf(item, 1)
	if err != nil || !ok {
		return g, errNotUnderstood
	}
	said := false
	for _, field := range body.List.Items {
		name, err := keyOf(field, 0)
		switch {
		case err != nil:
			return g, err
		case name == "comment":
		case name != "capabilities":
			g.more = append(g.more, name)
		case said || len(field.Keys) != 1:
			return g, errNotUnderstood
		default:
			said = true
			if g.capabilities, err = stringsOf(field.Val); err != nil {
				return g, err
			}
		}
	}
	slices.Sort(g.capabilities)
	g.capabilities = slices.Compact(g.capabilities)
	return g, nil
}

func keyOf(item *ast.ObjectItem, i int) (string, error) {
	if i >= len(item.Keys) {
		return "", errNotUnderstood
	}
	key, ok := item.Keys[i].Token.Value().(string)
	if !ok {
		return "", errNotUnderstood
	}
	return key, nil
}

func stringsOf(value ast.Node) ([]string, error) {
	list, ok := value.(*ast.ListType)
	if !ok {
		return nil, errNotUnderstood
	}
	var all []string
	for _, node := range list.List {
		literal, ok := node.(*ast.LiteralType)
		if !ok || literal.Token.Type != token.STRING {
			return nil, errNotUnderstood
		}
		text, ok := literal.Token.Value().(string)
		if !ok {
			return nil, errNotUnderstood
		}
		all = append(all, text)
	}
	return all, nil
}

// grants reports whether a grant lets anything through.
func (g grant) grants() bool {
	return !slices.Contains(g.capabilities, "deny") && (len(g.capabilities) > 0 || slices.Contains(g.more, "policy"))
}

// wild reports whether the path stands for more than one.
func (g grant) wild() bool {
	return strings.ContainsAny(g.path, "*+") || strings.Contains(g.path, "{{")
}

// covers reports whether the grant speaks of a path, or of some that a segment + of it stands for. A template may stand for
// anything.
func (g grant) covers(path string) bool {
	pattern := strings.TrimPrefix(g.path, "/")
	if before, _, templated := strings.Cut(pattern, "{{"); templated {
		pattern = before + "*"
	}
	stem, prefix := strings.CutSuffix(pattern, "*")
	segments, of := strings.Split(stem, "/"), strings.Split(path, "/")
	if len(of) < len(segments) || len(of) > len(segments) && !prefix {
		return false
	}
	for i, segment := range segments {
		begins := prefix && i == len(segments)-1 && strings.HasPrefix(of[i], segment)
		if segment != "+" && of[i] != "+" && segment != of[i] && !begins {
			return false
		}
	}
	return true
}
