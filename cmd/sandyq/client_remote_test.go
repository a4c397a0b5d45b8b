package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

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
	if r := crm.run(t, "", "access", "token", "revoke", id); r.code != exitFailed || !strings.HasPrefix(r.errors, "sandyq: error: revoke a service token: ") || !strings.Contains(r.errors, "hint: sandyq whoami") {
		t.Errorf("%+v", r)
	}
	if r := administrator.run(t, "", "access", "token", "revoke", id); r.code != exitDone || !strings.Contains(r.out, "revoked "+id) {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, "", "whoami"); r.code != exitFailed || !strings.Contains(r.errors, "unauthenticated") || !strings.Contains(r.errors, "--token-file") {
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
		if r := nowhere(args...); r.code != exitUsage || r.out != "" || !strings.Contains(r.errors, "error") || strings.Contains(r.errors, iin) {
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
