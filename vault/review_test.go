package vault_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// builtIn has a vault decide by the policies that an operator starts with.
func builtIn() vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) {
		o.Decider = cedar.Default(cedar.Options{Category: schema.Default().CategoryOf, Now: o.Clock})
	})
}

// TestAccessReview: the review tells of those whose tokens were good in the period and of nobody else, what they may read,
// and what was done in the period and not outside it.
func TestAccessReview(t *testing.T) {
	v := vaulttest.New(t, builtIn())
	root := v.As("root", access.Administrator)
	shop, desk, auditor := app(v), v.As("desk", access.Support), v.As("eye", access.Auditor)
	before := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "past", Role: "staff"}))
	must[*api.ServiceToken](t)(v.RevokeServiceToken(ctx, root, before.ID))
	person := register(t, v, shop, aigul())
	detokenize(t, v, shop, api.Plain, person.Tokens["iin"].Items[0])

	v.Clock.Advance(24 * time.Hour)
	from := v.Clock.Now()
	v.Clock.Advance(time.Minute)
	for range 3 {
		detokenize(t, v, desk, api.Masked, person.Tokens["iin"].Items[0], person.Tokens["family_name"].Items[0])
	}
	_, err := v.Detokenize(ctx, desk, &api.DetokenizeRequest{Purpose: "service", Reason: "call", Tokens: person.Tokens["iin"].Items})
	wantCode(t, err, fault.Denied)
	v.Clock.Advance(time.Minute)
	to := v.Clock.Now()
	detokenize(t, v, desk, api.Masked, person.Tokens["iin"].Items[0])

	review := must[*api.AccessReview](t)(v.ReviewAccess(ctx, auditor, from, to))
	could := map[string]api.CouldSee{}
	for _, one := range review.Could {
		could[one.System] = one
	}
	if _, ok := could["past"]; ok || len(could) != 4 {
		t.Errorf("could see: %v", could)
	}
	if len(could["eye"].May) != 0 || len(could["root"].May) != 0 {
		t.Errorf("auditors and administrators may read %v and %v", could["eye"].May, could["root"].May)
	}
	for _, m := range could["desk"].May {
		if m.Form != api.Masked || m.Category == "document" {
			t.Errorf("support may %+v", m)
		}
	}
	if !slices.Contains(could["shop"].May, api.MayRead{Operation: "document.open", Category: "document", Form: api.Plain}) || len(could["desk"].May) == 0 {
		t.Errorf("the shop may %v, the desk %v", could["shop"].May, could["desk"].May)
	}
	permitted, refused := 0, 0
	for _, one := range review.Did {
		if one.System == "shop" {
			t.Errorf("outside the period: %+v", one)
		}
		if one.System == "desk" && one.Operation == "detokenize" {
			permitted, refused = permitted+one.Permitted, refused+one.Refused
			if one.Permitted > 0 && (one.People != 1 || one.Items != 6 || one.Permitted != 3) {
				t.Errorf("the desk did %+v", one)
			}
		}
	}
	if permitted != 3 || refused == 0 {
		t.Errorf("%d permitted, %d refused", permitted, refused)
	}
	_, err = v.ReviewAccess(ctx, shop, from, to)
	wantCode(t, err, fault.Denied)
	_, err = v.ReviewAccess(ctx, auditor, to, from)
	wantCode(t, err, fault.Invalid)
}
