package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sandyq/sandyq/access"
)

// principal is whom the claims are about.
func (i *issuer) principal(c claims) (p access.Principal, err error) {
	subject, err := c.text("sub")
	if err != nil || subject == "" {
		return p, errToken("is about nobody (sub)")
	}
	sum := sha256.Sum256([]byte(subject)) // which may be personal
	p = access.Principal{Tenant: i.Tenant, Credential: "oidc:" + i.Name + "/" + hex.EncodeToString(sum[:16])}
	if p.Strong, err = i.strong(c); err != nil {
		return access.Principal{}, err
	}
	if i.Kind == KindSystem {
		p.Roles = []access.Role{access.Application}
		p.System, err = i.system(c)
		return p, err
	}
	if p.System, p.Roles, p.Department, err = i.person(c); err != nil {
		return access.Principal{}, err
	}
	if len(p.Roles) == 0 {
		return access.Principal{}, errToken("no role is mapped")
	}
	p.AllSystems, p.Systems, err = i.systems(c)
	return p, err
}

func (i *issuer) system(c claims) (name string, err error) {
	if i.SystemClaim == "" {
		name, err = c.party()
	} else {
		name, err = c.text(i.SystemClaim)
	}
	if err == nil && !systemPattern.MatchString(name) {
		err = errToken("what names the system is no system's name")
	}
	return name, err
}

var (
	actorPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	uuidPattern  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	longNumber   = regexp.MustCompile(`[0-9]{9}`) // as in an IIN or the number of a phone or a document
)

// maxDepartment bounds a department's name, in characters.
const maxDepartment = 100

// person is what an issuer says of one: the name, the roles that are mapped, the department.
func (i *issuer) person(c claims) (name string, roles []access.Role, department string, err error) {
	actor, err := c.text(i.ActorClaim)
	if err != nil {
		return "", nil, "", err
	}
	// The digits of a UUID are random; one in thirty has nine in a row.
	if !actorPattern.MatchString(actor) || longNumber.MatchString(actor) && !uuidPattern.MatchString(actor) {
		return "", nil, "", errToken("what names the person is no name for the log")
	}
	said, err := c.texts(i.RolesClaim)
	if err != nil {
		return "", nil, "", err
	}
	for _, s := range said {
		if r, ok := i.Roles[s]; ok && !slices.Contains(roles, access.Role(r)) {
			roles = append(roles, access.Role(r))
		}
	}
	slices.Sort(roles)
	if i.DepartmentClaim != "" {
		if department, err = c.text(i.DepartmentClaim); err != nil {
			return "", nil, "", err
		}
	}
	unfit := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.RuneCountInString(department) > maxDepartment || strings.IndexFunc(department, unfit) >= 0 || longNumber.MatchString(department) {
		return "", nil, "", errToken("the department is no name")
	}
	return i.Name + "/" + actor, roles, department, nil
}

// systems are those whose people a person may see.
func (i *issuer) systems(c claims) (all bool, names []string, err error) {
	said := i.Systems
	if i.SystemsClaim != "" {
		claimed, err := c.texts(i.SystemsClaim)
		if err != nil {
			return false, nil, err
		}
		said = append(slices.Clone(said), claimed...)
	}
	for _, s := range said {
		switch {
		case s == allSystems:
			all = true
		case !systemPattern.MatchString(s):
			return false, nil, errToken("a system's name is none")
		case !slices.Contains(names, s):
			names = append(names, s)
		}
	}
	return all, names, nil
}

// strong reports whether the authentication behind a token was.
func (i *issuer) strong(c claims) (bool, error) {
	class, err := c.text("acr")
	if err != nil {
		return false, err
	}
	methods, err := c.texts("amr")
	if err != nil {
		return false, err
	}
	return class != "" && slices.Contains(i.Strong.ACR, class) ||
		slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(i.Strong.AMR, m) }), nil
}
