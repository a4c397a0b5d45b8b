package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// policiesName is the name of the one object of its class.
const policiesName = "policies"

// The limits of a set of policies.
const (
	maxPolicyFiles = 100
	maxPolicies    = 200 << 10 // bytes of all files
)

var policyFilePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}\.cedar$`)

// policyObjects is the set of access policies that was put over the API. It takes the place of the one that the process was
// started with; an empty one gives that its place back.
func policyObjects() *objectKind {
	return &objectKind{
		class: classPolicies, kind: policiesName, action: access.ChangeConfig, approval: ApprovePolicies,
		check: (*Service).checkPolicies, read: (*Service).readPolicies, show: (*Service).showPolicies,
	}
}

// PutPolicies replaces the whole set of policies.
func (s *Service) PutPolicies(ctx context.Context, call Call, in *api.Policies) (*api.Change, error) {
	return s.propose(ctx, call, policyObjects(), policiesName, in.Version, &api.Policies{Files: in.Files})
}

// Policies shows the set of policies that was put over the API. Without one, the process's own set holds, which is not shown.
func (s *Service) Policies(ctx context.Context, call Call) (*api.Policies, error) {
	return configured(ctx, s, call, func(call Call) (*api.Policies, error) {
		row := call.rules.objects[objectKey{classPolicies, policiesName}]
		if row == nil {
			return &api.Policies{Files: map[string]string{}, ManagedBy: api.ManagedByFile}, nil
		}
		object, err := s.showPolicies(policiesName, row)
		if err != nil {
			return nil, err
		}
		return object.Policies, nil
	})
}

func (s *Service) checkPolicies(ctx context.Context, _ Call, _ string, body []byte) *fault.Error {
	set, err := objectOf[api.Policies](body)
	if err != nil {
		return fault.From(err)
	}
	size := 0
	for name, text := range set.Files {
		if size += len(text); !policyFilePattern.MatchString(name) || numberInCode.MatchString(name) {
			return fault.Bad("files", "names of the form NAME.cedar, of small letters, underscores and fewer than nine digits in a row")
		}
	}
	if len(set.Files) > maxPolicyFiles || size > maxPolicies {
		return fault.Bad("files", fmt.Sprintf("at most %d files, of %d bytes together", maxPolicyFiles, maxPolicies))
	}
	decider, err := s.compile(set)
	if err != nil {
		return brokenPolicies(err)
	}
	if !s.leavesAWayBack(ctx, decider) {
		return conflict("files", "under these policies no administrator could change the configuration any more")
	}
	return nil
}

// compile makes the decider of a set. The error names the file and the rule.
func (s *Service) compile(set *api.Policies) (access.Decider, error) {
	if len(set.Files) == 0 {
		return s.Decider, nil
	}
	if s.Compile == nil {
		return nil, fault.Bad("files", "this server takes its policies from files only")
	}
	files := make(map[string][]byte, len(set.Files))
	for name, text := range set.Files {
		files[name] = []byte(text)
	}
	return s.Compile(files)
}

// brokenPolicies is what whoever put a set is told of it: where it breaks which rule, and nothing of what it says.
func brokenPolicies(err error) *fault.Error {
	const most = 20
	broken, ok := errors.AsType[interface {
		error
		Rules() []string // see cedar.Broken
	}](err)
	if !ok {
		return fault.From(err)
	}
	rules := broken.Rules()
	refusal := fault.Bad("files", rules[0])
	for _, rule := range rules[1:min(len(rules), most)] {
		refusal.Fields = append(refusal.Fields, fault.Field{Field: "files", Rule: rule})
	}
	return refusal
}

// leavesAWayBack reports whether policies let somebody put others in their place: any administrator whom nothing else is known
// of than that they have proved themselves well, for one whom the policies name may be gone or be the one to be rid of; and,
// where such a change has to be approved, an approver.
func (s *Service) leavesAWayBack(ctx context.Context, decider access.Decider) bool {
	may := func(a access.Action, who access.Principal) bool {
		d, err := decider.Decide(ctx, access.Request{Principal: who, Action: a, Form: access.Plain})
		return err == nil && d.Allowed()
	}
	somebody := func(roles ...access.Role) access.Principal {
		return access.Principal{Tenant: s.Tenant, System: "somebody", Credential: "none", Roles: roles, AllSystems: true, Strong: true}
	}
	if !may(access.ChangeConfig, somebody(access.Administrator)) {
		return false
	}
	needs := s.Approvals[ApprovePolicies]
	if needs.Needed == 0 {
		return true
	}
	roles := needs.Roles
	if len(roles) == 0 {
		roles = access.Roles()
	}
	return slices.ContainsFunc(roles, func(r access.Role) bool { return may(access.DecideChange, somebody(r)) })
}

// readPolicies has the gate decide by the set. One that does not compile any more, as after an upgrade that knows an action
// less, leaves administrators what it takes to put another, and nobody anything else.
func (s *Service) readPolicies(made *rules, name string, row *ruleRow) error {
	if now := s.rulebook.current.Load(); now != nil { // to compile a set takes long, and any change of the rules comes by here
		if was := now.objects[objectKey{classPolicies, name}]; was != nil && bytes.Equal(was.Body, row.Body) {
			made.gate = now.gate
			return nil
		}
	}
	set, err := objectOf[api.Policies](row.Body)
	if err != nil {
		return err
	}
	decider, err := s.compile(set)
	if err != nil {
		s.Log.Error("the access policies that were put over the API do not compile: everything is refused until an administrator puts others (sandyq apply)",
			"version", row.Version, "error", brokenPolicies(err))
		decider = recovery{s.Approvals[ApprovePolicies].Roles}
	}
	made.gate = s.gateOf(decider)
	return nil
}

func (s *Service) showPolicies(_ string, row *ruleRow) (*api.Object, error) {
	set, err := objectOf[api.Policies](row.Body)
	if err != nil {
		return nil, err
	}
	set.ManagedBy, set.Version = api.ManagedByAPI, int(row.Version)
	if set.Files == nil {
		set.Files = map[string]string{}
	}
	if len(set.Files) == 0 {
		set.ManagedBy = api.ManagedByFile
	}
	return &api.Object{Policies: set}, nil
}

// recovery decides while the policies cannot: administrators may put others, and those may agree whose word that takes.
type recovery struct {
	approvers []access.Role // none: any of staff
}

// Decide implements access.Decider.
func (rec recovery) Decide(_ context.Context, r access.Request) (access.Decision, error) {
	const rule = "rule:policies_do_not_compile"
	puts := r.Principal.Has(access.Administrator)
	approves := slices.ContainsFunc(rec.approvers, r.Principal.Has) || len(rec.approvers) == 0 && r.Principal.VaultWide()
	may := false
	switch r.Action {
	case access.ReadConfig:
		may = puts || approves
	case access.ChangeConfig, access.CancelChange:
		may = puts
	case access.DecideChange:
		may = approves
	}
	if may {
		return access.Allow(rule), nil
	}
	return access.Deny(fault.New(fault.Denied, "the access policies do not compile: an administrator has to put others"), rule), nil
}
