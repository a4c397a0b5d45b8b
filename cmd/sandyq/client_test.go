package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
)

// ran is how a command went.
type ran struct {
	code        int
	out, errors string
}

// desk is where client commands are typed, against a running server.
type desk struct {
	server    *server
	tokenFile string
}

// desks gives an administrator's desk at a fresh server, and one for each role of a token made there.
func desks(t *testing.T) (administrator, application, staff desk) {
	t.Helper()
	s := start(t, "serve", "--dev", "--home", filepath.Join(t.TempDir(), "home"))
	administrator = desk{s, s.TokenFile}
	return administrator, administrator.admit(t, "crm", "application"), administrator.admit(t, "service-desk", "staff")
}

// admit makes a token by the command, and a desk with it.
func (d desk) admit(t *testing.T, system, role string) desk {
	t.Helper()
	made := d.run(t, "", "access", "token", "create", "--system", system, "--role", role)
	if made.code != exitDone || !strings.HasPrefix(made.out, "sst_") || strings.Contains(made.errors, "sst_") {
		t.Fatalf("%+v", made)
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(made.out), 0o600); err != nil {
		t.Fatal(err)
	}
	return desk{d.server, path}
}

// run types one command.
func (d desk) run(t *testing.T, input string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	e := &env{in: strings.NewReader(input), out: &out, err: &errs}
	code := run(t.Context(), e, append(args, "--server", d.server.API, "--token-file", d.tokenFile))
	return ran{code, out.String(), errs.String()}
}

// answer runs a command with --json and gives its answer.
func answer[T any](t *testing.T, d desk, code int, input string, args ...string) T {
	t.Helper()
	r := d.run(t, input, append(args, "--json")...)
	if r.code != code {
		t.Fatalf("%v: exit code %d, want %d: %s", args, r.code, code, r.errors)
	}
	var v T
	if err := json.Unmarshal([]byte(r.out), &v, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v: %v: %s", args, err, r.out)
	}
	return v
}

const (
	iin    = "850312113646"
	people = `[{"external_ref": "client/1", "fields": {"iin": "850312113646", "family_name": "Сәрсенова", "phone": ["87011234567"],
		"residence_address": {"country": "KZ", "city": "Алматы", "line": "Абай 1"}}}]`
)

func TestValuesThroughTheCommands(t *testing.T) {
	administrator, crm, _ := desks(t)

	me := answer[api.Whoami](t, crm, exitDone, "", "whoami")
	if me.System != "crm" || len(me.Roles) != 1 || me.Roles[0] != "application" {
		t.Errorf("%+v", me)
	}
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	if !made.Created || len(made.Tokens) != 4 {
		t.Fatalf("%+v", made)
	}
	again := crm.run(t, people, "tokenize", "--purpose", "registration")
	if again.code != exitDone || !strings.Contains(again.out, made.Tokens["iin"].Items[0]) || strings.Contains(again.out, "(new)") {
		t.Errorf("%+v", again)
	}

	found := answer[api.SearchResponse](t, crm, exitDone, iin+"\n", "search", "--field", "iin", "--purpose", "service", "--reason", "test")
	if len(found.Results) != 1 || found.Results[0].Subject != made.Subject {
		t.Errorf("%+v", found)
	}
	tokens := made.Tokens["family_name"].Items[0] + "\r\n\n" + made.Tokens["residence_address"].Items[0]
	read := crm.run(t, tokens, "detokenize", "--purpose", "service", "--reason", "test")
	if read.code != exitDone || !strings.Contains(read.out, "Сәрсенова") || !strings.Contains(read.out, "city=Алматы, country=KZ") {
		t.Errorf("%+v", read)
	}
	masked := crm.run(t, tokens, "detokenize", "--purpose", "service", "--reason", "test", "--form", "masked")
	if masked.code != exitDone || strings.Contains(masked.out, "Сәрсенова") || !strings.Contains(masked.out, "•••") {
		t.Errorf("%+v", masked)
	}

	correction := `{"evidence": {"kind": "application", "ref": "A-17"}, "fields": {"family_name": "Ахметова"}}`
	answer[api.RectifyResponse](t, crm, exitDone, correction, "subject", "rectify", made.Subject, "--purpose", "service")
	revealed := crm.run(t, "", "subject", "reveal", made.Subject, "--fields", "family_name,phone", "--purpose", "service", "--reason", "test")
	if want := "family_name  Ахметова\nphone        +77011234567\n"; revealed.code != exitDone || revealed.out != want {
		t.Errorf("%+v", revealed)
	}

	second := answer[api.Subject](t, crm, exitDone, "client/2\n", "subject", "create", "--purpose", "registration", "--external-ref", "-")
	if second.State != api.StateActive || second.Subject == made.Subject {
		t.Errorf("%+v", second)
	}
	entries := answer[api.Page[audit.Entry]](t, administrator, exitDone, "", "audit", "entries", "--actor", "crm", "--limit", "2", "--all")
	if len(entries.Items) < 7 || entries.NextCursor != "" || entries.Items[0].Operation != "tokenize" {
		t.Errorf("%d entries: %+v", len(entries.Items), entries.Items)
	}
}

func TestExitCodesOfBatches(t *testing.T) {
	_, crm, _ := desks(t)
	const good, bad = `{"fields": {"iin": "850312113646"}}`, `{"fields": {"iin": "850312113647"}}`
	for items, want := range map[string]int{
		"[" + good + "]": exitDone, "[" + good + "," + bad + "]": exitPartly, "[" + bad + "]": exitFailed,
		`[{"field": {}}]`: exitFailed, "{": exitFailed, "": exitUsage, " \n": exitUsage,
	} {
		if r := crm.run(t, items, "tokenize", "--purpose", "registration"); r.code != want || strings.Contains(r.errors, "8503") {
			t.Errorf("%s: %+v, want %d", items, r, want)
		}
	}
	result := answer[api.TokenizeResponse](t, crm, exitPartly, "["+bad+","+good+"]", "tokenize", "--purpose", "registration")
	if result.Results[0].Error == nil || result.Results[1].Error != nil {
		t.Errorf("%+v", result)
	}
	if r := crm.run(t, result.Results[1].Tokens["iin"].Items[0]+"\nsdq_mistyped\n", "detokenize", "--purpose", "service", "--reason", "test"); r.code != exitPartly {
		t.Errorf("%+v", r)
	}
}

// leaves lists the commands that do something.
