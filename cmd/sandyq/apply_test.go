package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// copied is a copy of a folder of deploy, whose files the test changes.
func copied(t *testing.T, parts ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range parts {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("..", "..", "deploy", part))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		t.Fatalf("%s holds no %q: %v", path, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// outcomes is what became of each object, as KIND/NAME.
func outcomes(a applied) (plans map[string]string, states map[string]api.ChangeState) {
	plans, states = map[string]string{}, map[string]api.ChangeState{}
	for _, o := range a.Objects {
		plans[o.Kind+"/"+o.Name] = o.Plan
		if o.Done != nil {
			states[o.Kind+"/"+o.Name] = o.Done.State
		}
	}
	return plans, states
}

// The examples are applied as they are, at once under --dev, and applying them again changes nothing.
func TestTheExamplesAreApplied(t *testing.T) {
	administrator, _, _ := desks(t)
	dpo := administrator.admit(t, "dpo", "privacy_officer")
	dir := copied(t, "purposes", "recipients", "systems", "consents")
	dry := answer[applied](t, dpo, exitDone, "", "apply", "-f", dir, "--dry-run")
	plans, states := outcomes(dry)
	if len(states) != 0 || plans["purpose/credit_scoring"] != "create" || plans["recipient/registrar"] != "create" || plans["system/shop"] != "create" {
		t.Fatalf("%v %v", plans, states)
	}
	if r := dpo.run(t, "", "purpose", "show", "delivery"); r.code != exitFailed {
		t.Errorf("a dry run made something: %+v", r)
	}
	first := answer[applied](t, dpo, exitDone, "", "apply", "-f", dir) // what another names is put before it, or tried again
	if _, states := outcomes(first); states["purpose/delivery"] != api.ChangeEffective || states["recipient/registrar"] != api.ChangeEffective {
		t.Fatalf("%+v", first)
	}
	last := answer[applied](t, dpo, exitDone, "", "apply", "-f", dir)
	for _, o := range last.Objects {
		if o.Plan != "same" {
			t.Errorf("%s %s: %+v", o.Kind, o.Name, o)
		}
	}
	if text := dpo.run(t, "", "purpose", "show", "delivery", "--versions"); text.code != exitDone || !strings.Contains(text.out, "Доставка") {
		t.Errorf("%+v", text)
	}
	edit(t, filepath.Join(dir, "recipients", "courier.yaml"), "fields: [family_name, ", "fields: [")
	changed := answer[applied](t, dpo, exitDone, "", "apply", "-f", dir)
	for _, o := range changed.Objects {
		if want := o.Name == "courier"; want != (o.Plan == "change") || want && (len(o.Differs) != 1 || o.Differs[0].Member != "fields") {
			t.Errorf("%+v", o)
		}
	}
	if text := dpo.run(t, "", "apply", "-f", dir); text.code != exitDone || !strings.Contains(text.out, "same") {
		t.Errorf("%+v", text)
	}
}

// The policies of the examples are those that are built in: putting them leaves everybody what they may.
func TestThePoliciesOfTheExamplesAreApplied(t *testing.T) {
	administrator, _, _ := desks(t)
	dir := copied(t, "policies")
	put := answer[applied](t, administrator, exitDone, "", "apply", "-f", dir)
	if plans, states := outcomes(put); plans["policies/policies"] != "create" || states["policies/policies"] != api.ChangeEffective {
		t.Fatalf("%+v", put)
	}
	if again := answer[applied](t, administrator, exitDone, "", "apply", "-f", dir); again.Objects[0].Plan != "same" {
		t.Fatalf("%+v", again)
	}
	edit(t, filepath.Join(dir, "policies", "auditor.cedar"), "permit", "forbid")
	changed := answer[applied](t, administrator, exitDone, "", "apply", "-f", dir)
	if o := changed.Objects[0]; o.Plan != "change" || len(o.Differs) != 1 || o.Differs[0].Member != "files.auditor.cedar" {
		t.Errorf("%+v", o)
	}
}

// What somebody else has changed since the plan is not overwritten.
func TestThePlanIsOfOneVersion(t *testing.T) {
	administrator, _, _ := desks(t)
	dir := filepath.Join(t.TempDir(), "of [one]") // no pattern
	systems := filepath.Join(dir, "systems")
	if err := os.MkdirAll(systems, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(systems, "shop.yaml"), []byte("name: shop\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("purposes: [service]")
	answer[applied](t, administrator, exitDone, "", "apply", "-f", dir)
	write("purposes: [contract]")
	c := administrator.server.client(t)
	wishes, err := readFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := compareAll(t.Context(), c, wishes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutSystem(t.Context(), "shop", &api.System{Purposes: []string{"marketing"}}); err != nil {
		t.Fatal(err)
	}
	plan.carryOut(t.Context(), c)
	if plan.failed() != 1 || !errors.Is(plan[0].err, fault.Conflict) {
		t.Errorf("%+v", plan[0])
	}
}

func TestWhatIsNotApplied(t *testing.T) {
	administrator, _, _ := desks(t)
	for name, test := range map[string]struct {
		part, file, text, tells string
		code                    int
	}{
		"an unknown key":    {"recipients", "a.yaml", "name: a\ncolour: red", "colour", exitFailed},
		"no country":        {"recipients", "a.yaml", "name: a\ncountry: XX\npurposes: [service]", "3166", exitFailed},
		"no name":           {"systems", "a.yaml", "purposes: [service]", "name", exitFailed},
		"no purpose":        {"purposes", "a.yaml", "purposes: [{name: a}]", "basis", exitFailed},
		"no policy":         {"policies", "a.cedar", "permit", "a.cedar", exitFailed},
		"a built-in":        {"purposes", "a.yaml", "purposes: [{name: service, title: {kk: а, ru: б, en: c}, basis: consent, fields: [phone], retention: {after: collection}}]", "file", exitFailed},
		"nothing":           {"other", "a.yaml", "", "nothing to apply", exitUsage},
		"an unknown system": {"systems", "a.yaml", "name: a\npurposes: [no_such_purpose]", "purposes", exitFailed},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, test.part), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, test.part, test.file), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := administrator.run(t, "", "apply", "-f", dir); r.code != test.code || !strings.Contains(r.out+r.errors, test.tells) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
