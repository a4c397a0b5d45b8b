package cedar_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
)

// table is one of the tables of docs/policies.md: rows of cells by column.
type table []map[string]string

// page is what docs/policies.md says: ordinarily, in emergencies, and of who acts for somebody.
type page struct{ ordinary, emergency, behalf table }

func readPage(t testing.TB) page {
	t.Helper()
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	var tables []table
	for _, block := range regexp.MustCompile(`(?m)(^\|.*\|\n)+`).FindAllString(string(text), -1) {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		header := cells(lines[0])
		var rows table
		for _, line := range lines[2:] {
			row := map[string]string{}
			for i, cell := range cells(line) {
				row[header[i]] = cell
			}
			rows = append(rows, row)
		}
		tables = append(tables, rows)
	}
	if len(tables) != 3 {
		t.Fatalf("the page has %d tables", len(tables))
	}
	return page{tables[0], tables[1], tables[2]}
}

func cells(line string) []string {
	all := strings.Split(strings.Trim(line, "| "), "|")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// question is one case of what the tables answer: what their columns are called, and what is asked.
type question map[string]string

// find is the row of a table that speaks of a case; nil when none does. Two rows that do are a mistake of the page.
func (rows table) find(t testing.TB, q question) (found map[string]string) {
	t.Helper()
	for _, row := range rows {
		fits := true
		for column, is := range q {
			cell, ok := row[column]
			fits = fits && (!ok || cell == "any" || slices.Contains(strings.Split(cell, ", "), is))
		}
		if fits && found != nil {
			t.Fatalf("two rows of the page speak of %v", q)
		}
		if fits {
			found = row
		}
	}
	return found
}

// world is every case that the tables speak of.
func world(yield func(access.Request, question)) {
	for _, a := range access.Actions() {
		kinds, forms := []string{"–"}, []access.Form{""}
		switch {
		case a == access.Detokenize || a == access.Reveal:
			kinds, forms = slices.Sorted(maps.Keys(fieldOf)), []access.Form{access.Plain, access.Masked}
		case a == access.PutDocument || a == access.OpenDocument:
			kinds = []string{"document"}
		case a.On() == access.Data:
			kinds, forms = slices.Sorted(maps.Keys(fieldOf)), []access.Form{"", access.Masked}
		}
		for _, kind := range kinds {
			for _, form := range forms {
				r := access.Request{Action: a, Form: form}
				q := question{"action": string(a), "field": kind, "form": string(form)}
				if kind == "–" {
					q["form"] = "–"
				} else {
					r.Fields = []string{fieldOf[kind]}
				}
				yield(r, q)
			}
		}
	}
}

// behalves is who may stand behind a principal: nobody, somebody with any one or two roles, proved or merely said. Who stands
// behind an action that shows nothing is all the same.
func behalves(a access.Action) []access.Behalf {
	all := []access.Behalf{{}}
	if !slices.Contains(reads, a) {
		for _, one := range []access.Role{access.Auditor, access.Support, access.PrivacyOfficer} {
			all = append(all, access.Behalf{Actor: "b", Verified: true, Roles: []access.Role{one}})
		}
		return all
	}
	all = append(all, access.Behalf{Actor: "b", Verified: true})
	for i, one := range access.Roles() {
		all = append(all, access.Behalf{Actor: "b", Roles: []access.Role{one}})
		for _, two := range access.Roles()[i:] {
			all = append(all, access.Behalf{Actor: "b", Verified: true, Roles: []access.Role{one, two}})
		}
	}
	return all
}

// reads are the actions that show data.
var reads = []access.Action{access.Detokenize, access.Reveal, access.Search, access.OpenDocument}

// permits is what the page says of a case.
func (p page) permits(t testing.TB, q question, r access.Request) bool {
	t.Helper()
	row := p.ordinary.find(t, q)
	if r.BreakGlass {
		if in := p.emergency.find(t, q); in != nil {
			row = in
		}
	}
	if row == nil {
		t.Fatalf("no row of the page speaks of %v", q)
	}
	if row[string(r.Principal.Roles[0])] != "yes" {
		return false
	}
	if !r.Behalf.Verified || len(r.Behalf.Roles) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Behalf.Roles, func(behind access.Role) bool {
		q := maps.Clone(q)
		q["behalf"] = string(behind)
		row := p.behalf.find(t, q)
		return row == nil || row["permitted"] == "yes"
	})
}

// verdict is what the page says of one request.
type verdict struct {
	request   access.Request
	permitted bool
	emergency bool // and the log must say that it was one
}

// verdicts are all that the page says, those first that are nobody's behalf.
func (p page) verdicts(t testing.TB) (all []verdict) {
	workers := []access.Role{access.Staff, access.Support, access.KYCOfficer, access.PrivacyOfficer}
	world(func(r access.Request, q question) {
		for _, role := range access.Roles() {
			for circumstances := range 4 {
				r.Principal = as(role)
				r.Principal.Strong, r.BreakGlass = circumstances&1 != 0, circumstances&2 != 0
				q["strong"] = map[bool]string{true: "yes", false: "no"}[r.Principal.Strong]
				for _, r.Behalf = range behalves(r.Action) {
					v := verdict{request: r, permitted: p.permits(t, q, r)}
					v.emergency = v.permitted && r.BreakGlass && slices.Contains(workers, role) && slices.Contains(reads, r.Action)
					all = append(all, v)
				}
			}
		}
	})
	slices.SortStableFunc(all, func(a, b verdict) int { return strings.Compare(a.request.Behalf.Actor, b.request.Behalf.Actor) })
	return all
}

// difference is how a decider differs from the page; empty when it does not.
func (v verdict) difference(d access.Decider) string {
	r := v.request
	got, err := d.Decide(context.Background(), r)
	if err == nil && got.Allowed() == v.permitted && slices.Contains(got.Policies, "break_glass.read") == v.emergency {
		return ""
	}
	return fmt.Sprintf("%s of %v in form %q by %v (strong %t, emergency %t, for %v): permitted %t by %v, %v", r.Action, r.Fields,
		r.Form, r.Principal.Roles, r.Principal.Strong, r.BreakGlass, r.Behalf, got.Allowed(), got.Policies, err)
}

// TestThePoliciesAreThoseOfThePage: the built-in set does, of every action, role, category and form, what docs/policies.md says.
func TestThePoliciesAreThoseOfThePage(t *testing.T) {
	e := cedar.Default(options())
	for _, v := range readPage(t).verdicts(t) {
		if difference := v.difference(e); difference != "" {
			t.Error(difference)
		}
	}
}

// TestThePageSpeaksOfNothingElse: every action, category, form and role of the page is one.
func TestThePageSpeaksOfNothingElse(t *testing.T) {
	known := map[string][]string{
		"action": nil, "field": append(slices.Collect(maps.Keys(fieldOf)), "any", "–"), "form": {"any", "plain", "masked", "–"},
		"strong": {"any", "yes", "no"}, "permitted": {"yes", "no"}, "behalf": nil,
	}
	for _, a := range access.Actions() {
		known["action"] = append(known["action"], string(a))
	}
	for _, r := range access.Roles() {
		known["behalf"] = append(known["behalf"], string(r))
		known[string(r)] = known["permitted"]
	}
	p := readPage(t)
	for _, row := range slices.Concat(p.ordinary, p.emergency, p.behalf) {
		for column, cell := range row {
			for _, word := range strings.Split(cell, ", ") {
				if !slices.Contains(known[column], word) {
					t.Errorf("column %s: %q", column, word)
				}
			}
		}
	}
}

// TestSeveralRoles: of several roles the widest counts, but for what is forbidden to one.
func TestSeveralRoles(t *testing.T) {
	e := cedar.Default(options())
	both := as(access.Auditor, access.Support)
	want(t, e, access.Request{Principal: both, Action: access.Search, Fields: []string{"phone"}}, true, "support.search")
	want(t, e, access.Request{Principal: both, Action: access.ReadAudit}, true, "auditor.log")
	want(t, e, access.Request{Principal: as(access.Support, access.KYCOfficer), Action: access.OpenDocument, Fields: []string{"documents"}}, false, "break_glass.documents")
}
