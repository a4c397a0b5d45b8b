package cedar_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/deploy/policies"
)

// TestCompileRefuses: what is refused is named by file, line, policy and rule, and all of it at once.
func TestCompileRefuses(t *testing.T) {
	long := strings.Repeat("a", 61)
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"no text":              {"", []string{"there is no policy"}},
		"a comment":            {"// permit (principal, action, resource);", []string{"there is no policy"}},
		"no Cedar":             {"permit everything;", []string{"test.cedar:1:18"}},
		"half a policy":        {`@id("a") permit (principal, act`, []string{"test.cedar:1:"}},
		"no id":                {"\npermit (principal, action, resource);", []string{"test.cedar:2", "@id"}},
		"an empty id":          {`@id("") permit (principal, action, resource);`, []string{"@id"}},
		"a long id":            {`@id("` + long + `") permit (principal, action, resource);`, []string{"@id"}},
		"an id with a space":   {`@id("a b") permit (principal, action, resource);`, []string{"@id"}},
		"an id in capitals":    {`@id("A") permit (principal, action, resource);`, []string{"@id"}},
		"the id none":          {`@id("none") permit (principal, action, resource);`, []string{"@id"}},
		"the id error":         {`@id("error") permit (principal, action, resource);`, []string{"@id"}},
		"an id twice":          {everything + "\n" + everything, []string{`test.cedar:2: policy "everything": the @id is taken at test.cedar:1`}},
		"the id of a built-in": {`@id("staff.log") permit (principal, action, resource);`, []string{"test.cedar:1", "taken at staff.cedar"}},
		"an unknown action":    {`@id("a") permit (principal, action == Action::"reveal.all", resource);`, []string{`"a"`, "reveal.all"}},
		"one of them":          {`@id("a") permit (principal, action in [Action::"reveal", Action::"show"], resource);`, []string{`"a"`, "show"}},
		"an unknown type":      {`@id("a") permit (principal is Robot, action, resource);`, []string{`"a"`, "Robot"}},
		"an unknown role":      {`@id("a") permit (principal in Role::"helpdesk", action, resource);`, []string{`"a"`, `Role::"helpdesk"`}},
		"one in a condition":   {`@id("a") permit (principal, action, resource) when { principal in [Role::"boss"] };`, []string{`"a"`, `Role::"boss"`}},
		"an unknown category":  {`@id("a") permit (principal, action, resource in Category::"secret");`, []string{`Category::"secret"`}},
		"an unknown field":     {`@id("a") permit (principal, action, resource == Field::"emial");`, []string{`Field::"emial"`}},
		"an unknown log":       {`@id("a") permit (principal, action, resource == Log::"other");`, []string{`Log::"other"`}},
		"an unknown attribute": {`@id("a") permit (principal, action, resource) when { context.role == "a" };`, []string{`"a"`, "role"}},
		"one of a principal":   {`@id("a") permit (principal, action, resource) when { principal.age == 1 };`, []string{`"a"`, "age"}},
		"a wrong type":         {`@id("a") permit (principal, action, resource) when { context.count > "1" };`, []string{`"a"`, "Long", "String"}},
		"no truth":             {`@id("a") permit (principal, action, resource) when { context.count };`, []string{`"a"`, "Bool"}},
		"what may be absent":   {`@id("a") permit (principal, action, resource) when { context.network.isLoopback() };`, []string{`"a"`, "network"}},
		"what is behind":       {`@id("a") permit (principal, action, resource) when { context.behalf.verified };`, []string{`"a"`, "behalf"}},
		"all of the context":   {`@id("a") permit (principal, action == Action::"reveal", resource) when { context == {} };`, []string{`"a"`, "not compatible"}},
		"as much as is there": {`@id("a") permit (principal, action == Action::"reveal", resource) when { context == {purpose: "", reason: "", form: "",
			basis: "", recipient: "", state: "", hour: 12, weekday: 7, count: 0, approvals: 0, strong: false, break_glass: false} };`, []string{`"a"`, "not compatible"}},
		"an action on another": {`@id("a") permit (principal, action == Action::"audit.read", resource is Field);`, []string{`"a"`, "applicable action"}},
		"two faults": {`@id("a") permit (principal, action, resource) when { context.role == "a" };
			permit (principal, action, resource);`, []string{"test.cedar:1", "role", "test.cedar:2", "@id"}},
		"much": {everything + strings.Repeat(" ", 256<<10), []string{"256 KiB"}},
	} {
		files := map[string][]byte{"test.cedar": []byte(test.text)}
		if name == "the id of a built-in" {
			files["staff.cedar"] = policies.BuiltIn()["staff.cedar"]
		}
		e, err := cedar.Compile(files, options())
		if e != nil || err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, which does not say %s", name, err, want)
			}
		}
		if _, again := cedar.Compile(files, options()); again.Error() != err.Error() {
			t.Errorf("%s: %v, and then %v", name, err, again)
		}
	}
	if _, err := cedar.Compile(policies.BuiltIn(), cedar.Options{}); err == nil {
		t.Error("no categories and no clock are accepted")
	}
}

// FuzzCompile: whatever a file says, it is refused with an error or decides; what it permits it permits to somebody with a
// role; and what no policy is about is denied.
func FuzzCompile(f *testing.F) {
	for _, text := range policies.BuiltIn() {
		f.Add(text)
	}
	f.Add([]byte(everything))
	f.Add([]byte(`@id("a") permit (principal, action, resource) when { context has behalf && ip("10.0.0.0/8").isInRange(ip("::/0")) };`))
	f.Add([]byte(`@id("a") forbid (principal == ?principal, action, resource) unless { if true then {"a": [1, -1]}.a.contains(1) else 1 like "*" };`))
	requests := []access.Request{
		{Principal: as(access.Staff), Action: access.Reveal, Form: access.Plain},
		{Principal: as(access.Application, access.Support), Action: access.Search, Fields: []string{"iin", "phone", "documents"}, Count: 1 << 62},
		{Principal: as(access.Auditor), Action: access.ReadAudit, Behalf: access.Behalf{Actor: "b"}},
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := cedar.Compile(map[string][]byte{"a.cedar": text}, options())
		if err != nil {
			return
		}
		for _, r := range requests {
			d, err := e.Decide(t.Context(), r)
			if x := e.Explain(r); err != nil || x.Allowed != d.Allowed() || d.Allowed() && !bytes.Contains(text, []byte("permit")) {
				t.Errorf("%v by %v, explained as %+v; %v", d.Err(), d.Policies, x, err)
			}
			r.Principal.Roles = nil
			want(t, e, r, false, cedar.None)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		cedar.Default(options())
	}
}

// TestHostilePolicies: a policy that is nested deeply is refused before it is looked at any closer: to hold it to the schema, and
// to say what is wrong with it, would keep the server busy for minutes.
func TestHostilePolicies(t *testing.T) {
	const size = 190 << 10
	for name, when := range map[string]string{
		"sets in sets":       strings.Repeat("[", size/2) + "1" + strings.Repeat("]", size/2) + " == [1]",
		"records in records": strings.Repeat("{a:", size/4) + "1" + strings.Repeat("}", size/4) + " == {a:1}",
		"a long sum":         "1 == 1" + strings.Repeat("+1", size/2),
		"a long path":        "context" + strings.Repeat(".a", size/2),
		"choices in choices": strings.Repeat("if true then ", size/22) + "true" + strings.Repeat(" else true", size/22),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := cedar.Compile(map[string][]byte{"a.cedar": []byte(`@id("a") permit (principal, action, resource) when { ` + when + ` };`)}, options())
			if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "a.cedar") {
				t.Errorf("%.200v", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it takes %v", took)
			}
		})
	}
	wide := `"` + strings.Join(slices.Repeat([]string{"alikhan"}, 1000), `", "`) + `"`
	if _, err := cedar.Compile(map[string][]byte{"a.cedar": []byte(`@id("a") permit (principal, action, resource) when { [` + wide + `].contains(context.purpose) };`)}, options()); err != nil {
		t.Errorf("a long list is refused: %.200v", err)
	}
}
