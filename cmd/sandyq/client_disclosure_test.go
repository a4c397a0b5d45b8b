package main

import (
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

func TestHandoffsAndRecipientsThroughTheCommands(t *testing.T) {
	administrator, crm, _ := desks(t)
	billing := administrator.admit(t, "billing", "application")
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	create := []string{"handoff", "create", made.Subject, "--to", "billing", "--fields", "phone,family_name", "--purpose", "contract"}
	handoff := answer[api.Handoff](t, crm, exitDone, "", create...)
	if r := crm.run(t, handoff.Handoff, "handoff", "redeem"); r.code != exitFailed || strings.Contains(r.errors, handoff.Handoff) {
		t.Errorf("%+v", r)
	}
	got := answer[api.RedeemHandoffResponse](t, billing, exitDone, handoff.Handoff+"\n", "handoff", "redeem")
	if got.Subject == made.Subject || len(got.Tokens) != 2 {
		t.Errorf("%+v", got)
	}
	if r := crm.run(t, "", create...); r.code != exitDone || !strings.Contains(r.out, "hnd_") {
		t.Errorf("%+v", r)
	}
	if r := billing.run(t, "", "subject", "recipients", got.Subject); r.code != exitDone || !strings.Contains(r.out, "billing") || strings.Contains(r.out, "crm") {
		t.Errorf("%+v", r)
	}
	if r := crm.run(t, made.Tokens["phone"].Items[0], "detokenize", "--purpose", "domain_registration", "--reason", "order", "--recipient", "nobody"); r.code != exitFailed || !strings.Contains(r.errors, "recipient") {
		t.Errorf("%+v", r)
	}
}
