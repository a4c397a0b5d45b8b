package vault_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/deploy/policies"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// set is the built-in policies as they are put over the API, with more files or others of the same name.
func set(more map[string]string) *api.Policies {
	p := &api.Policies{Files: map[string]string{}}
	for name, text := range policies.BuiltIn() {
		p.Files[name] = string(text)
	}
	maps.Copy(p.Files, more)
	return p
}

const nobodyReadsPhones = `@id("no.phones") forbid (principal, action, resource == Field::"phone");`

func TestPoliciesDecideFromTheAnswerOn(t *testing.T) {
	v, other, shop, who := two(t)
	admin := v.As("admin", access.Administrator)
	phone := who.Tokens["phone"].Items[0]
	if p := must[*api.Policies](t)(v.Policies(ctx, admin)); p.ManagedBy != api.ManagedByFile || len(p.Files) != 0 {
		t.Errorf("%+v", p)
	}
	wantItem(t, detokenize(t, other, shop, api.Plain, phone)[0].Error, "")
	must[*api.Change](t)(v.PutPolicies(ctx, admin, set(map[string]string{"own.cedar": nobodyReadsPhones})))
	for _, node := range []*vaulttest.Vault{v, other} {
		wantItem(t, detokenize(t, node, shop, api.Plain, phone)[0].Error, fault.Denied)
	}
	if p := must[*api.Policies](t)(other.Policies(ctx, admin)); p.ManagedBy != api.ManagedByAPI || p.Version != 1 || p.Files["own.cedar"] != nobodyReadsPhones {
		t.Errorf("%+v", p)
	}
	must[*api.Change](t)(v.PutPolicies(ctx, admin, &api.Policies{})) // the process's own again
	for _, node := range []*vaulttest.Vault{v, other} {
		wantItem(t, detokenize(t, node, shop, api.Plain, phone)[0].Error, "")
	}
}

func TestWhatNoPoliciesCanBe(t *testing.T) {
	v := vaulttest.New(t)
	admin := v.As("admin", access.Administrator)
	for name, test := range map[string]struct {
		files map[string]string
		tells string
	}{
		"no Cedar":       {set(map[string]string{"own.cedar": "permit (principal, action"}).Files, "own.cedar"},
		"no such action": {set(map[string]string{"own.cedar": `@id("x") permit (principal, action == Action::"fly", resource);`}).Files, "own.cedar"},
		"a number":       {map[string]string{"own.cedar": "850312113646 (principal, action, resource);"}, "own.cedar:1:14: a policy begins"},
		"a number again": {map[string]string{"a850312113646.cedar": "permit"}, "NAME.cedar"},
		"a path":         {map[string]string{"../own.cedar": ""}, "NAME.cedar"},
		"another file":   {map[string]string{"own.txt": ""}, "NAME.cedar"},
		"too much":       {map[string]string{"own.cedar": strings.Repeat("/", 200<<10+1)}, "bytes"},
	} {
		_, err := v.PutPolicies(ctx, admin, &api.Policies{Files: test.files})
		if f := fault.From(err); err == nil || f.Code != fault.Invalid || f.Fields[0].Field != "files" || !strings.Contains(f.Fields[0].Rule, test.tells) ||
			strings.Contains(f.Error(), "850312113646") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := v.PutPolicies(ctx, admin, &api.Policies{Files: map[string]string{"own.cedar": strings.Repeat("\n", 150<<10)}})
	wantCode(t, err, fault.TooLarge) // as JSON
	largest := set(map[string]string{"own.cedar": "//" + strings.Repeat("x", 150<<10)})
	must[*api.Change](t)(v.PutPolicies(ctx, admin, largest))
	for name, files := range map[string]map[string]string{
		"nobody may anything": {"own.cedar": `@id("nothing") forbid (principal, action, resource);`},
		"one of them alone":   set(map[string]string{"own.cedar": `@id("mine") forbid (principal in Role::"administrator", action, resource) unless { principal == Staff::"admin" };`}).Files,
		"no administrator":    set(map[string]string{"own.cedar": `@id("nothing") forbid (principal in Role::"administrator", action, resource);`}).Files,
	} {
		_, err := v.PutPolicies(ctx, admin, &api.Policies{Files: files})
		if fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop", &api.System{}))
}

// A set under which nobody could agree to another one is refused, where others have to agree.
func TestPoliciesLeaveAnApprover(t *testing.T) {
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Approvals = map[string]vault.Approval{vault.ApprovePolicies: {Needed: 1}} }))
	admin := v.As("admin", access.Administrator)
	alone := `@id("alone") forbid (principal, action == Action::"configuration.approve", resource);`
	_, err := v.PutPolicies(ctx, admin, set(map[string]string{"own.cedar": alone}))
	wantCode(t, err, fault.Conflict)
	if asked := must[*api.Change](t)(v.PutPolicies(ctx, admin, set(nil))); asked.State != api.ChangeWaiting {
		t.Errorf("%+v", asked)
	}
}

// TestNobodyGivesThemselvesDataAlone: by default an administrator's policies wait for an officer, whom they have not made.
func TestNobodyGivesThemselvesDataAlone(t *testing.T) {
	v := vaulttest.New(t, vaulttest.FourEyes())
	shop, admin, officer := app(v), v.As("admin", access.Administrator), v.As("officer", access.SecurityOfficer)
	who := register(t, v, shop, aigul())
	mine := set(map[string]string{"own.cedar": `@id("mine") permit (principal in Role::"auditor", action, resource);`})
	asked := must[*api.Change](t)(v.PutPolicies(ctx, admin, mine))
	reads := func() bool {
		_, err := v.Detokenize(ctx, v.As("auditor", access.Auditor), &api.DetokenizeRequest{Purpose: "service", Reason: "look", Tokens: who.Tokens["iin"].Items})
		return err == nil
	}
	for name, call := range map[string]vault.Call{
		"themselves": admin, "an officer of their making": made(t, v, admin, "mine", access.SecurityOfficer),
		"another administrator": v.As("admin-2", access.Administrator),
	} {
		if _, err := approve(v, call, asked.Change, asked.Digest); fault.CodeOf(err) != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked.State != api.ChangeWaiting || reads() {
		t.Errorf("%+v", asked)
	}
	must[*api.Change](t)(approve(v, officer, asked.Change, asked.Digest))
	if !reads() {
		t.Error("what an officer has agreed to does not hold")
	}
	must[*api.Change](t)(v.PutSystem(ctx, admin, "shop", &api.System{})) // other configuration is theirs
}

// TestPoliciesAreCompiledWhenTheyChange and not whenever anything does: a large set takes seconds.
func TestPoliciesAreCompiledWhenTheyChange(t *testing.T) {
	var compiled atomic.Int32
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) {
		o.Compile = func(map[string][]byte) (access.Decider, error) {
			compiled.Add(1)
			return permitting{}, nil
		}
	}))
	admin := v.As("admin", access.Administrator)
	must[*api.Change](t)(v.PutPolicies(ctx, admin, set(nil)))
	before := compiled.Load()
	for _, name := range []string{"shop", "bank", "shop-2"} {
		must[*api.Change](t)(v.PutSystem(ctx, admin, name, &api.System{}))
	}
	if n := compiled.Load() - before; n != 0 {
		t.Errorf("compiled %d times", n)
	}
	must[*api.Change](t)(v.PutPolicies(ctx, admin, set(map[string]string{"own.cedar": ""})))
	if compiled.Load() == before {
		t.Error("another set was not compiled")
	}
}

// Policies that do not compile any more let administrators put others, and nobody anything else.
func TestPoliciesThatDoNotCompileAnyMore(t *testing.T) {
	home := t.TempDir()
	v := vaulttest.At(t, home)
	shop, admin := app(v), v.As("admin", access.Administrator)
	clerk, officer := v.As("clerk", access.Staff), v.As("officer", access.SecurityOfficer)
	who := register(t, v, shop, aigul())
	must[*api.Change](t)(v.PutPolicies(ctx, admin, set(nil)))
	v.Stop()
	broken := true
	compile := func(map[string][]byte) (access.Decider, error) {
		if broken {
			return nil, errors.New("own.cedar: no such action")
		}
		return permitting{}, nil
	}
	v = vaulttest.At(t, home, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) { o.Compile = compile }))
	_, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "call", Tokens: who.Tokens["iin"].Items})
	wantCode(t, err, fault.Denied)
	_, err = v.AuditEntries(ctx, admin, api.AuditQuery{})
	wantCode(t, err, fault.Denied)
	_, err = v.PutSystem(ctx, shop, "shop", &api.System{})
	wantCode(t, err, fault.Denied)
	must[*api.Policies](t)(v.Policies(ctx, admin))
	broken = false
	asked := must[*api.Change](t)(v.PutPolicies(ctx, admin, set(map[string]string{"own.cedar": nobodyReadsPhones})))
	_, err = approve(v, clerk, asked.Change, asked.Digest)
	wantCode(t, err, fault.Denied)
	must[*api.Change](t)(approve(v, officer, asked.Change, asked.Digest))
	wantItem(t, detokenize(t, v, shop, api.Plain, who.Tokens["iin"].Items[0])[0].Error, "")
}

// permitting permits everything.
type permitting struct{ access.Decider }

func (permitting) Decide(_ context.Context, _ access.Request) (access.Decision, error) {
	return access.Allow("all"), nil
}
