package budget_test

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
)

// read reads a configuration strictly, and has a meter check it.
func read(text string) (c budget.Config, err error) {
	if err := yaml.Load([]byte(text), &c, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
		return c, err
	}
	_, err = budget.New(budget.Options{Mode: c.Mode, Limits: c.Limits, Ledger: newLedger(), Now: time.Now})
	return c, err
}

func TestConfig(t *testing.T) {
	got, err := read(`
mode: enforce
limits:
  - {name: crm_reads, system: crm, roles: [application], purpose: billing, category: contact, kind: read, minute: 1, hour: 2, day: 3}
  - {name: all, day: 1000}
`)
	want := budget.Config{Mode: budget.Enforce, Limits: []budget.Limit{
		{Name: "crm_reads", System: "crm", Roles: application, Purpose: "billing", Category: "contact", Kind: budget.Read, Minute: 1, Hour: 2, Day: 3},
		{Name: "all", Day: 1000},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	long := strings.Repeat("a", 41)
	for text, why := range map[string]string{
		"": "no documents",
		"mode: warn\nlimits: [{name: a, day: 1}]":                  "a mode is observe or enforce",
		"limits: [{name: a, day: 1, week: 1}]":                     "week",
		"limits: [{name: a, day: 1, day: 2}]":                      "day",
		"limits: [{day: 1}]":                                       "a name is",
		"limits: [{name: A, day: 1}]":                              "a name is",
		"limits: [{name: " + long + ", day: 1}]":                   "a name is",
		"limits: [{name: a, day: 1}, {name: a, day: 2}]":           "named twice",
		"limits: [{name: a}]":                                      "one of minute, hour and day",
		"limits: [{name: a, day: -1}]":                             "day is 0 to",
		"limits: [{name: a, day: 1000000000001}]":                  "day is 0 to",
		"limits: [{name: a, minute: 10, hour: 20, day: 19}]":       "day holds less",
		"limits: [{name: a, minute: 10, day: 9}]":                  "day holds less",
		"limits: [{name: a, day: 1, kind: write}]":                 "a kind is",
		"limits: [{name: a, day: 1, roles: [root]}]":               `no role "root"`,
		"limits:" + strings.Repeat("\n  - {name: a, day: 1}", 101): "more than 100",
	} {
		_, err := read(text)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.80s\n%v, want %s", text, err, why)
		}
	}
}

func TestDefault(t *testing.T) {
	c := budget.Default()
	if c.Mode != budget.Observe {
		t.Error("it does more than observe")
	}
	n := start(t, budget.Enforce, newLedger(), c.Limits...)
	for _, r := range access.Roles() {
		for _, kind := range []budget.Kind{budget.Read, budget.Search} {
			charge := budget.Charge{System: string(r), Kind: kind, Units: 600_001}
			if err := n.Spend(t.Context(), []access.Role{r}, charge); err == nil {
				t.Errorf("nothing bounds what %s may %s", r, kind)
			}
		}
	}
}

// The documentation shows the defaults, and what is written can be read.
func TestDefaultIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/budgets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := bytes.Cut(doc, []byte("```yaml\n"))
	text, _, _ = bytes.Cut(text, []byte("```"))
	written, err := yaml.Dump(budget.Default())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"documented": text, "written": written} {
		got, err := read(string(text))
		if err != nil || !reflect.DeepEqual(got, budget.Default()) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
