package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
)

func TestConsentsThroughTheCommands(t *testing.T) {
	admin, crm, _ := desks(t)
	subject := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0].Subject
	missing := answer[api.Page[api.MissingConsent]](t, admin, exitDone, "", "consent", "missing", "--purpose", "registration")
	if len(missing.Items) == 0 {
		t.Error("nobody is missing a consent")
	}
	now := time.Now().UTC().Format(time.RFC3339)
	given := `{"text": "builtin-2026-01", "purposes": ["registration", "service"], "channel": "paper", "given_at": "` + now + `", "evidence": "form 4711"}`
	made := answer[api.Consent](t, crm, exitDone, given, "consent", "record", subject)
	if made.State != api.ConsentGiven || made.Receipt == "" {
		t.Fatalf("%+v", made)
	}
	if r := crm.run(t, "{}", "consent", "record", subject); r.code != exitFailed || !strings.Contains(r.errors, "text") {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, "", "consent", "list", subject); r.code != exitDone || !strings.Contains(r.out, made.Consent) || !strings.Contains(r.out, "form 4711") {
		t.Errorf("%+v", r)
	}
	after := answer[api.Page[api.MissingConsent]](t, admin, exitDone, "", "consent", "missing", "--purpose", "registration")
	if len(after.Items) != len(missing.Items)-1 {
		t.Errorf("%d are missing a consent, and were %d", len(after.Items), len(missing.Items))
	}
	gone := answer[api.Consent](t, crm, exitDone, "", "consent", "withdraw", subject, made.Consent, "--reason", "asked")
	if gone.State != api.ConsentWithdrawn || len(gone.Stopped) != 2 {
		t.Errorf("%+v", gone)
	}
	if r := admin.run(t, made.Receipt, "consent", "proof"); r.code != exitDone || !strings.Contains(r.out, "builtin-2026-01") || !strings.Contains(r.out, "withdrawn") {
		t.Errorf("%+v", r)
	}
	if r := admin.run(t, "rcp_00000000000000000000000000", "consent", "proof"); r.code != exitFailed {
		t.Errorf("%+v", r)
	}

	text := `{"text": {"kk": "Келісемін.", "ru": "Я согласен.", "en": "I consent."}, "effective_from": "` + now + `", "purposes": ["service"]}`
	if put := answer[api.Change](t, admin, exitDone, text, "consent", "texts", "put", "own-1"); put.Kind != "consent_text" || put.Name != "own-1" {
		t.Errorf("%+v", put)
	}
	if r := crm.run(t, "", "consent", "texts", "show", "own-1"); r.code != exitDone || !strings.Contains(r.out, "Келісемін.") {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, "", "consent", "texts", "list"); r.code != exitDone || !strings.Contains(r.out, "own-1") || !strings.Contains(r.out, "builtin-marketing-2026-01") {
		t.Errorf("%+v", r)
	}
}
