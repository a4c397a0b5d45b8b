package main

import (
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

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
