package access_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
)

// operations are the actions that a row of docs/access.md speaks of.
var operations = map[string][]access.Action{
	"tokenize, tokens revoke, create a person":    {access.Tokenize, access.RevokeTokens, access.CreateSubject},
	"detokenize, reveal, search, tokens describe": {access.Detokenize, access.Reveal, access.Search, access.DescribeTokens},
	"documents: put, open":                        {access.PutDocument, access.OpenDocument},
	"show, rectify, block, unblock a person":      {access.ShowSubject, access.Rectify, access.Block, access.Unblock},
	"erasure: request, cancel, show":              {access.RequestErasure, access.CancelErasure, access.ShowErasure},
	"erasure: approve":                            {access.ApproveErasure},
	"audit entries":                               {access.ReadAudit},
	"service tokens: make, list, revoke":          {access.CreateCredential, access.ListCredentials, access.RevokeCredential},
	"fields, purposes, whoami":                    {access.ReadConfig},
}

// TestTheRolesAreThoseOfThePage: docs/access.md and the code say the same of every action and role.
func TestTheRolesAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (.+) \| (.+) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(string(page), -1)
	if len(rows) == 0 || rows[0][1] != "operation" {
		t.Fatalf("the page has no table of operations: %q", rows)
	}
	var seen []access.Action
	for _, row := range rows[1:] {
		actions, ok := operations[row[1]]
		if !ok {
			t.Errorf("this test does not know the row %q", row[1])
		}
		seen = append(seen, actions...)
		for i, cell := range row[2:] {
			role, err := access.ParseRole(rows[0][2+i])
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range actions {
				wantRole(t, role, a, cell != "no")
			}
		}
	}
	slices.Sort(seen)
	if want := slices.Sorted(slices.Values(access.Actions())); !slices.Equal(seen, want) {
		t.Errorf("the page speaks of %v, there are %v", seen, want)
	}
}

func wantRole(t *testing.T, role access.Role, a access.Action, allowed bool) {
	t.Helper()
	d, err := access.Roles{}.Decide(t.Context(), access.Request{Principal: access.Principal{Role: role}, Action: a})
	if err != nil || d.Allowed() != allowed || !slices.Equal(d.Policies, []string{"role:" + string(role)}) {
		t.Errorf("%s may %s: %t by %v, the page says %t (%v)", role, a, d.Allowed(), d.Policies, allowed, err)
	}
	if !allowed && !errors.Is(d.Err(), fault.Denied) {
		t.Errorf("%s is refused %s with %v", role, a, d.Err())
	}
}

func TestParseRole(t *testing.T) {
	for _, text := range []string{"", "Staff", "staff ", "root", "application,staff"} {
		if r, err := access.ParseRole(text); r != "" || !errors.Is(err, fault.Invalid) {
			t.Errorf("%q is read as %q, %v", text, r, err)
		}
	}
	for role, wide := range map[access.Role]bool{access.Application: false, access.Staff: true, access.Administrator: true, "": false} {
		if role.VaultWide() != wide {
			t.Errorf("%q sees vault-wide ids: %t", role, !wide)
		}
	}
	if _, err := access.ParseRole(strings.ToLower(string(access.Staff))); err != nil {
		t.Error(err)
	}
}
