package httpapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/httpapi"
)

// page is what docs/access.md says in its tables.
type page struct {
	callers map[string]map[string]string // operation → kind of caller → what it may
	states  map[string]map[string]string // operation → how the person stands → what is answered whoever asks
}

// cells are what a cell of either table may say.
var (
	callerCells = []string{"yes", "all", "own", "403", "404"}
	stateCells  = []string{"yes", "403", "404", "409", "410", "423"}
)

var operationName = regexp.MustCompile("`([a-z_.]+)`")

// readPage reads the page, whose tables must have every route once.
func readPage(t *testing.T) page {
	t.Helper()
	b, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	p := page{table(t, string(b), "## Who may what", callerCells), table(t, string(b), "## What a person's state forbids", stateCells)}
	for _, r := range httpapi.Routes() {
		if p.callers[r.Operation] == nil {
			t.Errorf("%s %s: the page does not say who may %s", r.Method, r.Pattern, r.Operation)
		}
	}
	for _, of := range []map[string]map[string]string{p.callers, p.states} {
		for op := range of {
			if !slices.ContainsFunc(httpapi.Routes(), func(r httpapi.Route) bool { return r.Operation == op }) {
				t.Errorf("%s is no route", op)
			}
		}
	}
	return p
}

// table reads the first table under a heading: a row of each says what holds of the operations that it names.
func table(t *testing.T, text, heading string, allowed []string) map[string]map[string]string {
	t.Helper()
	_, text, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("the page has no %q", heading)
	}
	rows := map[string]map[string]string{}
	var columns []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"), columns != nil && line == "":
			return rows
		case !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---"):
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if columns == nil {
			columns = cells[1:]
			continue
		}
		if len(cells) != len(columns)+1 {
			t.Fatalf("a row with %d cells: %s", len(cells), line)
		}
		row := map[string]string{}
		for i, cell := range cells[1:] {
			if !slices.Contains(allowed, cell) {
				t.Errorf("%q says nothing: %s", cell, line)
			}
			row[columns[i]] = cell
		}
		for _, name := range operationName.FindAllStringSubmatch(cells[0], -1) {
			if rows[name[1]] != nil {
				t.Errorf("%s has two rows", name[1])
			}
			rows[name[1]] = row
		}
	}
	return rows
}
