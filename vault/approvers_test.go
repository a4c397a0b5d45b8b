package vault_test

import (
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestShortages: a sole privacy officer is one, however many tokens they have, until there is another.
func TestShortages(t *testing.T) {
	v := vaulttest.New(t)
	needs := map[string]vault.Approval{vault.ApprovePurpose: {Needed: 1, Roles: []access.Role{access.PrivacyOfficer}}}
	want := func(what string, identities int) {
		t.Helper()
		short := must[[]vault.Shortage](t)(vault.Shortages(ctx, "test", v.Store, needs, v.Clock.Now()))
		if identities == 0 && len(short) == 0 {
			return
		}
		if len(short) != 1 || short[0] != (vault.Shortage{Approval: vault.ApprovePurpose, Needed: 1, Identities: identities}) {
			t.Errorf("%s: %+v", what, short)
		}
	}
	boss := v.As("boss", access.Administrator)
	want("nobody yet", 0)
	officer := made(t, v, boss, "officer", access.PrivacyOfficer)
	want("a sole officer", 1)
	made(t, v, boss, "officer", access.PrivacyOfficer)
	want("another token of the same", 1)
	must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, boss, officer.Principal.Credential, &api.RotateServiceTokenRequest{}))
	want("rotated", 1)
	must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, boss, &api.CreateServiceTokenRequest{
		System: "other", Role: "privacy_officer", ExpiresAt: v.Clock.Now().Add(time.Hour),
	}))
	want("two officers", 0)
	v.Clock.Advance(2 * time.Hour)
	want("the other's has expired", 1)
	third := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, boss, &api.CreateServiceTokenRequest{System: "third", Role: "privacy_officer"}))
	want("a third", 0)
	must[*api.ServiceToken](t)(v.RevokeServiceToken(ctx, boss, third.ID))
	want("whose is revoked", 1)
}
