package cedar_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/deploy/policies"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is a Sunday, noon in Almaty.
var noon = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

var fields = schema.Default()

func options() cedar.Options {
	return cedar.Options{Category: category, Now: func() time.Time { return noon }}
}

func category(name string) string {
	if name == "note" {
		return "other" // the built-in schema has none
	}
	f, ok := fields.Field(name)
	if !ok {
		return ""
	}
	return string(f.Category)
}

// fieldOf is a field of each category.
var fieldOf = map[string]string{
	"identity": "iin", "contact": "phone", "address": "residence_address", "document": "documents", "other": "note",
}

// compile compiles the text of one file.
func compile(t testing.TB, text string) *cedar.Engine {
	t.Helper()
	e, err := cedar.Compile(map[string][]byte{"test.cedar": []byte(text)}, options())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func as(roles ...access.Role) access.Principal { return access.Principal{System: "a", Roles: roles} }

// want holds the decision on a request: whether it is permitted, and by which policies, if any are given.
func want(t testing.TB, d access.Decider, r access.Request, allowed bool, by ...string) {
	t.Helper()
	got, err := d.Decide(context.Background(), r)
	if err != nil || got.Allowed() != allowed || by != nil && !slices.Equal(got.Policies, by) {
		t.Errorf("%s of %v in form %q by %v: allowed %t by %v (%v), want %t by %v",
			r.Action, r.Fields, r.Form, r.Principal.Roles, got.Allowed(), got.Policies, err, allowed, by)
	}
	if !allowed && !errors.Is(got.Err(), fault.Denied) {
		t.Errorf("refused with %v", got.Err())
	}
}

const everything = `@id("everything") permit (principal, action, resource);`

// TestWhatIsUnknownIsDenied even where policies permit everything.
func TestWhatIsUnknownIsDenied(t *testing.T) {
	e := compile(t, everything)
	good := access.Request{Principal: as(access.Staff), Action: access.Reveal, Fields: []string{"iin"}, Form: access.Plain}
	want(t, e, good, true, "everything")
	for name, spoil := range map[string]func(*access.Request){
		"an empty request":          func(r *access.Request) { *r = access.Request{} },
		"nobody":                    func(r *access.Request) { r.Principal = access.Principal{} },
		"no role":                   func(r *access.Request) { r.Principal.Roles = nil },
		"an unknown role":           func(r *access.Request) { r.Principal.Roles = []access.Role{"root"} },
		"no action":                 func(r *access.Request) { r.Action = "" },
		"an unknown action":         func(r *access.Request) { r.Action = "reveal.all" },
		"an operation of the law":   func(r *access.Request) { r.Action = "use" },
		"an undecided form":         func(r *access.Request) { r.Form = access.Allowed },
		"an unknown form":           func(r *access.Request) { r.Form = "full" },
		"an unknown field":          func(r *access.Request) { r.Fields = []string{"iin", "shoe_size"} },
		"an empty field":            func(r *access.Request) { r.Fields = []string{""} },
		"what stands for no fields": func(r *access.Request) { r.Fields = []string{"(identity)"} },
	} {
		r := good
		spoil(&r)
		want(t, e, r, false, cedar.None)
		if x := e.Explain(r); x.Allowed {
			t.Errorf("%s is explained as allowed: %+v", name, x)
		}
	}
}

// TestFields: a request about several is permitted when each is, by the policies of all; refused by those that refused one.
func TestFields(t *testing.T) {
	e := compile(t, `
		@id("iin") permit (principal, action, resource == Field::"iin");
		@id("contact") permit (principal, action, resource in Category::"contact");
		@id("not.email") forbid (principal, action, resource) when { resource == Field::"email" };
		@id("documents") permit (principal, action == Action::"search", resource) when { [Field::"documents"].contains(resource) };`)
	for _, test := range []struct {
		fields  []string
		allowed bool
		by      []string
	}{
		{[]string{"iin"}, true, []string{"iin"}},
		{[]string{"phone", "iin", "phone"}, true, []string{"contact", "iin"}},
		{[]string{"phone", "email"}, false, []string{"not.email"}},
		{[]string{"family_name"}, false, []string{cedar.None}},
		{[]string{"email", "iin", "family_name"}, false, []string{cedar.None, "not.email"}},
		{[]string{"documents"}, true, []string{"documents"}},
		{[]string{"document_number"}, false, []string{cedar.None}},
		{nil, true, nil},
	} {
		want(t, e, access.Request{Principal: as(access.Staff), Action: access.Search, Fields: test.fields}, test.allowed, test.by...)
	}
}

// TestBeforeTheFieldsAreKnown a request goes on when some field would be permitted, whatever way policies name it.
func TestBeforeTheFieldsAreKnown(t *testing.T) {
	for text, allowed := range map[string]bool{
		everything: true,
		`@id("a") permit (principal, action, resource == Field::"email");`:                                                                 true,
		`@id("a") permit (principal, action, resource in Category::"other");`:                                                              true,
		`@id("a") permit (principal, action, resource) unless { resource == Field::"email" };`:                                             true,
		`@id("a") permit (principal, action == Action::"reveal", resource);`:                                                               false,
		`@id("a") permit (principal, action, resource is Person);`:                                                                         false,
		everything + `@id("b") forbid (principal, action, resource in Category::"identity");`:                                              true,
		everything + `@id("b") forbid (principal, action, resource) unless { resource == Field::"phone" };`:                                true,
		`@id("a") permit (principal, action, resource == Field::"phone"); @id("b") forbid (principal, action in Action::"use", resource);`: false,
	} {
		e := compile(t, text)
		r := access.Request{Principal: as(access.Support), Action: access.Detokenize, Form: access.Masked}
		want(t, e, r, allowed)
		if x := e.Explain(r); x.Allowed != allowed || len(x.Parts) < 5 {
			t.Errorf("explained as %+v, want %t", x, allowed)
		}
	}
}

// TestAFailingPolicyDenies: Cedar would pass over it, and a forbid that fails would forbid nothing.
func TestAFailingPolicyDenies(t *testing.T) {
	const overflow = `when { context.count + 9223372036854775807 < 0 };`
	for text, by := range map[string][]string{
		everything + `@id("wary") forbid (principal, action, resource) ` + overflow: {cedar.Failed, "wary"},
		everything + `@id("yes") permit (principal, action, resource) ` + overflow:  {cedar.Failed, "yes"},
	} {
		e := compile(t, text)
		r := access.Request{Principal: as(access.Staff), Action: access.Reveal, Fields: []string{"iin"}, Form: access.Plain}
		want(t, e, r, true)
		r.Count = 1
		want(t, e, r, false, by...)
		d, _ := e.Decide(t.Context(), r)
		if !strings.Contains(d.Err().Error(), by[1]) || strings.Contains(fault.From(d.Err()).Detail, by[1]) {
			t.Errorf("the cause is %v", d.Err())
		}
		r.Fields = []string{"phone", "iin"}
		want(t, e, r, false, by...)
		if x := e.Explain(r); x.Allowed || x.Parts[1].Failure == "" || x.Parts[1].Policies[0].ID != by[1] {
			t.Errorf("explained as %+v", x)
		}
	}
}

// TestContext: a policy sees each thing that is said of a request, and nothing of another.
func TestContext(t *testing.T) {
	full := access.Request{
		Principal: access.Principal{
			System: "i/aigerim", Roles: []access.Role{access.KYCOfficer, access.Support}, Department: "cards", Strong: true,
			Network: netip.MustParseAddr("::ffff:10.0.0.7"),
		},
		Action: access.Reveal, Fields: []string{"iin"}, Form: access.Plain, Purpose: "service", Reason: "request", Count: 3,
		State: "active", Basis: "consent", Recipient: "bureau", Approvals: 2, BreakGlass: true,
		Behalf: access.Behalf{Actor: "b", Verified: true, Roles: []access.Role{access.Auditor}, Department: "loans"},
	}
	bare := access.Request{Principal: as(access.Administrator), Action: access.Reveal, Fields: []string{"iin"}, Form: access.Masked}
	for _, condition := range []string{
		`principal is Staff && principal == Staff::"i/aigerim"`, `principal.name == "i/aigerim"`, `principal.department == "cards"`,
		`principal.roles == ["support", "kyc_officer"]`, `principal in Role::"support" && principal in Role::"kyc_officer"`,
		`context.form == "plain"`, `context.purpose == "service"`, `context.reason == "request"`, `context.count == 3`,
		`context.state == "active"`, `context.basis == "consent"`, `context.recipient == "bureau"`, `context.approvals == 2`,
		`context.break_glass`, `context.strong`, `context has network && context.network.isInRange(ip("10.0.0.0/8"))`,
		`context has behalf && context.behalf.actor == "b" && context.behalf.verified`,
		`context has behalf && context.behalf.department == "loans" && context.behalf.roles == ["auditor"]`,
	} {
		e := compile(t, `@id("a") permit (principal, action, resource) when { `+condition+` };`)
		want(t, e, full, true, "a")
		want(t, e, bare, false, cedar.None)
	}
	for _, condition := range []string{
		`context.hour == 12 && context.weekday == 7`, `action in Action::"use"`, `resource in Category::"identity"`,
		`{seen: context}.seen.hour == 12`, `(if context.strong then context else context).weekday == 7`, // the context as a whole
	} {
		want(t, compile(t, `@id("a") permit (principal, action, resource) when { `+condition+` };`), bare, true, "a")
	}
	o := options()
	o.Location = time.UTC
	e, err := cedar.Compile(map[string][]byte{"a.cedar": []byte(`@id("a") permit (principal, action, resource) when { context.hour == 7 };`)}, o)
	if err != nil {
		t.Fatal(err)
	}
	want(t, e, bare, true)
	system := bare
	system.Principal = as(access.Application, access.Support)
	want(t, compile(t, `@id("a") permit (principal == System::"a", action, resource);`), system, true)
}

// TestDevelopment: administrators may do everything with --dev, and others what they always may.
func TestDevelopment(t *testing.T) {
	dev, standard := cedar.Development(options()), cedar.Default(options())
	for _, a := range access.Actions() {
		r := access.Request{Principal: as(access.Administrator), Action: a, Fields: []string{"iin"}}
		want(t, dev, r, true)
		for _, role := range access.Roles()[:len(access.Roles())-1] {
			r.Principal = as(role)
			d, _ := standard.Decide(t.Context(), r)
			want(t, dev, r, d.Allowed(), d.Policies...)
		}
	}
}

func TestPoliciesAreListed(t *testing.T) {
	all := cedar.Default(options()).Policies()
	if !slices.IsSortedFunc(all, func(a, b cedar.Policy) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("not by id")
	}
	names := slices.Collect(maps.Keys(policies.BuiltIn()))
	for _, p := range all {
		if p.Annotations["why"] == "" || p.Line == 0 || !slices.Contains(names, p.File) || !strings.HasPrefix(p.File, strings.SplitN(p.ID, ".", 2)[0]) {
			t.Errorf("%+v", p)
		}
		if text := string(policies.BuiltIn()[p.File]); (p.Effect == cedar.Forbid) != strings.Contains(text, `@id("`+p.ID+`")`+"\n@why(\""+p.Annotations["why"]+"\")\nforbid") {
			t.Errorf("%s: %s", p.ID, p.Effect)
		}
	}
}

// TestExplain: what is explained is what is decided.
func TestExplain(t *testing.T) {
	e := cedar.Default(options())
	x := e.Explain(access.Request{Principal: as(access.Support), Action: access.Reveal, Form: access.Masked, Fields: []string{"phone", "documents"}})
	if x.Allowed || len(x.Parts) != 2 {
		t.Fatalf("%+v", x)
	}
	if p := x.Parts[0]; !p.Allowed || p.Field != "phone" || p.Category != "contact" || len(p.Policies) != 1 || p.Policies[0].ID != "support.masked" {
		t.Errorf("%+v", p)
	}
	if p := x.Parts[1]; p.Allowed || p.Category != "document" || len(p.Policies) != 1 || p.Policies[0].Effect != cedar.Forbid || p.Policies[0].Annotations["why"] == "" {
		t.Errorf("%+v", p)
	}
	x = e.Explain(access.Request{Principal: as(access.Auditor), Action: access.ReadAudit})
	if !x.Allowed || len(x.Parts) != 1 || x.Parts[0].Policies[0].ID != "auditor.log" {
		t.Errorf("%+v", x)
	}
	x = e.Explain(access.Request{Principal: as(access.Staff), Action: access.Reveal, Refusal: fault.New(fault.Blocked, "")})
	if x.Allowed || !strings.Contains(x.Because, "blocked") {
		t.Errorf("%+v", x)
	}
}

func BenchmarkDecide(b *testing.B) {
	e := cedar.Default(options())
	for name, r := range map[string]access.Request{
		"application, one field": {
			Principal: as(access.Application), Action: access.Detokenize, Fields: []string{"iin"}, Purpose: "service",
			Reason: "request", Form: access.Plain, State: "active", Basis: "contract", Count: 1,
		},
		"application, six fields": {
			Principal: as(access.Application), Action: access.Reveal, Form: access.Plain,
			Fields: []string{"iin", "phone", "email", "family_name", "document_number", "residence_address"},
		},
		"support, before the fields are known": {Principal: as(access.Support), Action: access.Detokenize, Form: access.Masked},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Decide(b.Context(), r); err != nil || !d.Allowed() {
					b.Fatal(d.Err(), err)
				}
			}
		})
	}
}
