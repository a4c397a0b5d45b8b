package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
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

func TestDocumentsThroughTheCommands(t *testing.T) {
	_, crm, _ := desks(t)
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	specimens, err := sample.Specimens()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "scan")
	if err := os.WriteFile(file, specimens[0].Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(specimens[0].Bytes)
	put := answer[api.Document](t, crm, exitDone, "", "document", "put", made.Subject, file,
		"--kind", "identity_card", "--side", "front", "--capture", "photographed", "--purpose", "registration")
	if put.SHA256 != hex.EncodeToString(sum[:]) || put.MediaType != specimens[0].MediaType {
		t.Errorf("%+v", put)
	}

	out := filepath.Join(dir, "out")
	get := func(args ...string) ran {
		return crm.run(t, put.Token+"\n", append([]string{"document", "get", out, "--purpose", "service", "--reason", "test"}, args...)...)
	}
	holds := func(want []byte) {
		t.Helper()
		got, err := os.ReadFile(out)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file has %d bytes, want %d: %v", len(got), len(want), err)
		}
	}
	if r := get(); r.code != exitDone || !strings.Contains(r.out, put.SHA256) {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(out, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := get(); r.code != exitFailed || !strings.Contains(r.errors, "--force") {
		t.Errorf("%+v", r)
	}
	holds([]byte("mine"))
	if r := get("--force"); r.code != exitDone {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if r := get("--force", "--part", "2"); r.code != exitFailed || !strings.Contains(r.errors, "not_found") {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	text := filepath.Join(dir, "scan")
	if err := os.WriteFile(text, []byte("not a scan"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := crm.run(t, "", "document", "put", made.Subject, text, "--kind", "other", "--capture", "digital", "--purpose", "registration")
	if r.code != exitFailed || !strings.Contains(r.errors, "unsupported") {
		t.Errorf("%+v", r)
	}
}

func TestACutDocumentLeavesNoFile(t *testing.T) {
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = w.Write([]byte(`{"content": "/v1/content/h", "sha256": "00", "size": 5}`))
			return
		}
		_, _ = w.Write([]byte("other bytes"))
	}))
	defer cut.Close()
	dir := t.TempDir()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("sst_x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := desk{&server{serving: serving{API: cut.URL}}, tokenFile}
	r := d.run(t, "sdq_x", "document", "get", filepath.Join(dir, "out"), "--purpose", "service", "--reason", "test")
	left, err := os.ReadDir(dir)
	if r.code != exitFailed || err != nil || len(left) != 0 {
		t.Errorf("%+v; left: %v, %v", r, left, err)
	}
}

func TestBlockAndErasureThroughTheCommands(t *testing.T) {
	_, crm, staff := desks(t)
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	token := made.Tokens["iin"].Items[0]
	read := func() ran { return crm.run(t, token, "detokenize", "--purpose", "service", "--reason", "test") }

	subject := answer[api.SearchResponse](t, staff, exitDone, iin, "search", "--field", "iin", "--purpose", "service", "--reason", "test").Results[0].Subject
	blocked := answer[api.Subject](t, staff, exitDone, "", "subject", "block", subject, "--kind", "dispute", "--reason", "test")
	if blocked.State != api.StateBlocked || len(blocked.Blocks) != 1 {
		t.Errorf("%+v", blocked)
	}
	if r := read(); r.code != exitFailed || !strings.Contains(r.out, "blocked") || strings.Contains(r.out, iin) {
		t.Errorf("%+v", r)
	}
	if r := staff.run(t, "", "erase", subject, "--ground", "request", "--reason", "test"); r.code != exitFailed || !strings.Contains(r.errors, "hint: sandyq subject show") {
		t.Errorf("%+v", r)
	}
	answer[api.Subject](t, staff, exitDone, "", "subject", "unblock", subject, "--kind", "dispute", "--reason", "test")
	if r := read(); r.code != exitDone || !strings.Contains(r.out, iin) {
		t.Errorf("%+v", r)
	}

	would := answer[api.Erasure](t, staff, exitDone, "", "erase", subject, "--ground", "request", "--reason", "test", "--dry-run")
	if !would.DryRun || would.WillDestroy == nil || would.WillDestroy.Keys != 1 || would.WillDestroy.Fields != 4 {
		t.Errorf("%+v", would)
	}
	if r := read(); r.code != exitDone {
		t.Errorf("after a dry run: %+v", r)
	}
	erased := answer[api.Erasure](t, staff, exitDone, "asked in writing", "erase", subject, "--ground", "request", "--reason", "test", "--note", "-", "--wait")
	if erased.State != api.ErasureErased {
		t.Errorf("%+v", erased)
	}
	if r := staff.run(t, "", "erasure", "show", erased.Erasure); r.code != exitDone || !strings.Contains(r.out, "keys destroyed") {
		t.Errorf("%+v", r)
	}
	if r := staff.run(t, "", "erasure", "cancel", erased.Erasure); r.code != exitFailed {
		t.Errorf("%+v", r)
	}
	if r := read(); r.code != exitFailed || !strings.Contains(r.out, "erased") {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, "", "subject", "show", made.Subject); r.code != exitFailed || !strings.Contains(r.errors, "erased") {
		t.Errorf("%+v", r)
	}
}

func TestTokensOfAccess(t *testing.T) {
	administrator, crm, _ := desks(t)
	all := answer[api.Page[api.ServiceToken]](t, administrator, exitDone, "", "access", "token", "list")
	id := ""
	for _, token := range all.Items {
		if token.Secret != "" {
			t.Errorf("a secret is listed: %s", token.ID)
		}
		if token.System == "crm" {
			id = token.ID
		}
	}
	if len(all.Items) != 3 || id == "" {
		t.Fatalf("%+v", all)
	}
	if r := crm.run(t, "", "access", "token", "revoke", id); r.code != exitFailed || !strings.Contains(r.errors, "hint: sandyq whoami") {
		t.Errorf("%+v", r)
	}
	if r := administrator.run(t, "", "access", "token", "revoke", id); r.code != exitDone || !strings.Contains(r.out, "revoked "+id) {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, "", "whoami"); r.code != exitFailed || !strings.Contains(r.errors, "unauthenticated") || !strings.Contains(r.errors, "--token-file") {
		t.Errorf("%+v", r)
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

func TestUsageOfTheClientCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	nowhere := func(args ...string) ran {
		var out, errs bytes.Buffer
		code := run(t.Context(), &env{in: strings.NewReader(""), out: &out, err: &errs}, args)
		return ran{code, out.String(), errs.String()}
	}
	t.Setenv(tokenFileVariable, "")
	for _, args := range [][]string{
		{"tokenize"}, {"tokenize", "--purpose", "x", iin}, {"subject"}, {"subject", "no"}, {"subject", "show"}, {"access", "token", "create"},
		{"audit", "entries", "--from", "yesterday"}, {"erase", "sub_1", "--ground", "x", "--reason", "x", "--dry-run", "--wait"}, {"whoami"},
	} {
		if r := nowhere(args...); r.code != exitUsage || r.out != "" || !strings.Contains(r.errors, "error") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := nowhere("whoami"); !strings.Contains(r.errors, "dev.token") || !strings.Contains(r.errors, "hint") {
		t.Errorf("%+v", r)
	}
	t.Setenv(tokenFileVariable, "token")
	if err := os.WriteFile("token", []byte("sst_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := nowhere("whoami", "--server", "http://127.0.0.1:1")
	if r.code != exitFailed || !strings.Contains(r.errors, "is the server running") || strings.Contains(r.errors, "sst_secret") {
		t.Errorf("%+v", r)
	}
	if r := nowhere("whoami", "--server", "ftp://x"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}

func TestInTheClear(t *testing.T) {
	for server, want := range map[string]bool{
		"http://127.0.0.1:7440": false, "http://[::1]:7440": false, "http://localhost:7440": false, "https://vault.example": false,
		"http://vault.example": true, "http://10.0.0.7:7440": true, "http://localhost.example": true,
	} {
		if got := inTheClear(server); got != want {
			t.Errorf("%s: %v", server, got)
		}
	}
}

// leaves lists the commands that do something.
func leaves(cmd *cobra.Command) []*cobra.Command {
	if !cmd.HasSubCommands() {
		return []*cobra.Command{cmd}
	}
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

func TestEveryClientCommandShowsAnExample(t *testing.T) {
	for _, cmd := range leaves(newRootCmd(&env{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}})) {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no short text", cmd.CommandPath())
		}
	}
}

func TestAdvice(t *testing.T) {
	reached := fault.New(fault.Unavailable, "the keys are out of reach for the moment")
	unreached := fault.Wrap(fault.Unavailable, errors.New("connection refused"), "")
	for _, test := range []struct {
		err  error
		hint string
	}{
		{nil, ""}, {errors.New("read the input"), ""}, {reached, ""},
		{fmt.Errorf("call: %w", unreached), "running"}, {fmt.Errorf("call: %w", fault.New(fault.Denied, "")), "whoami"},
	} {
		h, hinted := errors.AsType[hintedError](advised(test.err))
		if hinted != (test.hint != "") || !strings.Contains(h.hint, test.hint) {
			t.Errorf("%v: %q", test.err, h.hint)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31mb\n\tС\u202e"); got != "a�[31mb��С�" {
		t.Errorf("%q", got)
	}
}
