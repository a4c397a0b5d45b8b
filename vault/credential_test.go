package vault_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

func lets(t *testing.T, v *vaulttest.Vault, secret string, in bool) {
	t.Helper()
	if _, err := v.Authenticate(ctx, vault.Presented{Bearer: secret}); (err == nil) != in || err != nil && !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("let in: %v", err)
	}
}

// TestServiceTokenExpires: a token ends at its time and not before.
func TestServiceTokenExpires(t *testing.T) {
	v := vaulttest.New(t)
	root := v.As("root", access.Administrator)
	ends := v.Clock.Now().Add(time.Hour)
	made := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "crm", Role: "application", ExpiresAt: ends}))
	if got := made.ExpiresAt; got.Sub(ends).Abs() > time.Second {
		t.Errorf("it expires at %v, not %v", got, ends)
	}
	lets(t, v, made.Secret, true)
	v.Clock.Advance(time.Hour - time.Second)
	lets(t, v, made.Secret, true)
	v.Clock.Advance(2 * time.Second)
	lets(t, v, made.Secret, false)
	_, err := v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "crm", Role: "application", ExpiresAt: ends})
	wantCode(t, err, fault.Invalid)
}

// TestRotateServiceToken: old and new work for the overlap; then the old one does not, whatever it had before it.
func TestRotateServiceToken(t *testing.T) {
	v := vaulttest.New(t)
	root := v.As("root", access.Administrator)
	old := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{
		System: "desk", Role: "support", Systems: []string{"crm"}, Department: "claims",
	}))
	fresh := must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, root, old.ID, &api.RotateServiceTokenRequest{Overlap: 3600}))
	if fresh.System != "desk" || fresh.Role != "support" || fresh.Department != "claims" || len(fresh.Systems) != 1 || fresh.Replaces != old.ID {
		t.Errorf("the new one is %+v", fresh)
	}
	lets(t, v, old.Secret, true)
	lets(t, v, fresh.Secret, true)
	v.Clock.Advance(time.Hour + time.Second)
	lets(t, v, old.Secret, false)
	lets(t, v, fresh.Secret, true)
	_, err := v.RotateServiceToken(ctx, root, old.ID, &api.RotateServiceTokenRequest{Overlap: 3600})
	wantCode(t, err, fault.Conflict)
	_, err = v.RotateServiceToken(ctx, root, "cred_0123456789abcdefghjkmnpqrs", &api.RotateServiceTokenRequest{})
	wantCode(t, err, fault.NotFound)
	_, err = v.RotateServiceToken(ctx, v.As("crm", access.Application), fresh.ID, &api.RotateServiceTokenRequest{})
	wantCode(t, err, fault.Denied)

	shorter := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{
		System: "crm", Role: "application", ExpiresAt: v.Clock.Now().Add(time.Minute),
	}))
	must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, root, shorter.ID, &api.RotateServiceTokenRequest{Overlap: 3600}))
	v.Clock.Advance(2 * time.Minute)
	lets(t, v, shorter.Secret, false)
}

// TestLastUsed: the list says when a token was used, in this process at once and after a restart as it was written down.
func TestLastUsed(t *testing.T) {
	v := vaulttest.New(t)
	root := v.As("root", access.Administrator)
	made := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "crm", Role: "application"}))
	used := func() time.Time {
		for _, one := range must[*api.Page[api.ServiceToken]](t)(v.ServiceTokens(ctx, root, 0, "")).Items {
			if one.ID == made.ID {
				return one.LastUsedAt
			}
		}
		t.Fatal("it is not listed")
		return time.Time{}
	}
	if at := used(); !at.IsZero() {
		t.Errorf("used at %v before it was", at)
	}
	before := v.Clock.Now().Add(-time.Millisecond)
	lets(t, v, made.Secret, true)
	first := used()
	if first.Before(before) {
		t.Errorf("used at %v, before it was made", first)
	}
	v.Clock.Advance(2 * time.Minute)
	lets(t, v, made.Secret, true)
	second := used()
	time.Sleep(300 * time.Millisecond) // some rounds of the sweeper, one of which writes it down
	v.Restart()
	root = v.As("root", access.Administrator)
	if at := used(); at.Sub(second).Abs() > time.Second {
		t.Errorf("after a restart used at %v, not %v", at, second)
	}
}

// TestStaffSeeTheSystemsOfTheirGrants: staff of one system's people see them, what that system has tokens of, and nothing of
// anybody else.
func TestStaffSeeTheSystemsOfTheirGrants(t *testing.T) {
	v := vaulttest.New(t)
	root := v.As("root", access.Administrator)
	crm, shop := v.As("crm", access.Application), v.As("shop", access.Application)
	ours := register(t, v, crm, aigul())
	must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, &api.TokenizeRequest{Purpose: "service", Items: []api.TokenizeItem{
		{Fields: fields{"iin": text(iinA), "email": text("a@example.kz")}},
	}}))
	theirs := register(t, v, shop, fields{"iin": text(iinB)})
	made := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "desk", Role: "staff", Systems: []string{"crm"}}))
	desk := vault.Call{Principal: must[access.Principal](t)(v.Authenticate(ctx, vault.Presented{Bearer: made.Secret}))}

	got := detokenize(t, v, desk, api.Plain, ours.Tokens["iin"].Items[0], theirs.Tokens["iin"].Items[0])
	wantText(t, got[0].Value, iinA)
	if got[1].Error == nil || got[1].Error.Code != fault.NotFound {
		t.Errorf("another system's token: %+v", got[1])
	}
	person := got[0].Subject
	shown := must[*api.Subject](t)(v.Subject(ctx, desk, person))
	if _, ok := shown.Fields["email"]; ok {
		t.Error("what another system collected is shown")
	}
	revealed := must[*api.RevealResponse](t)(v.Reveal(ctx, desk, person, &api.RevealRequest{Purpose: "service", Reason: "call", Fields: []string{"iin", "email"}}))
	if len(revealed.Fields) != 1 {
		t.Errorf("%d fields are revealed", len(revealed.Fields))
	}
	all := v.As("staff", access.Staff)
	other := detokenize(t, v, all, api.Plain, theirs.Tokens["iin"].Items[0])[0].Subject
	_, foreign := v.Subject(ctx, desk, other)
	_, missing := v.Subject(ctx, desk, "sub_0123456789abcdefghjkmnpqrs")
	wantCode(t, foreign, fault.NotFound)
	if foreign.Error() != missing.Error() {
		t.Errorf("foreign: %v; missing: %v", foreign, missing)
	}
	found := must[*api.SearchResponse](t)(v.Search(ctx, desk, &api.SearchRequest{Purpose: "service", Reason: "call", Field: "iin", Value: api.Text(iinB)}))
	if len(found.Results) != 0 {
		t.Error("another system's person is found")
	}
}

// TestATokenOfStaffAlerts: whoever makes or rotates one is told of; one for a system is not.
func TestATokenOfStaffAlerts(t *testing.T) {
	heard := &kindsHeard{}
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Observer = heard }))
	root := v.As("root", access.Administrator)
	before := heard.count("credential")
	must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "crm", Role: "application"}))
	if n := heard.count("credential") - before; n != 0 {
		t.Errorf("%d alerts of a system's token", n)
	}
	made := must[*api.ServiceToken](t)(v.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "desk", Role: "support"}))
	must[*api.ServiceToken](t)(v.RotateServiceToken(ctx, root, made.ID, &api.RotateServiceTokenRequest{}))
	if n := heard.count("credential") - before; n != 2 {
		t.Errorf("%d alerts of a token made and rotated", n)
	}
}

// kindsHeard counts the alerts of each kind.
type kindsHeard struct {
	mu    sync.Mutex
	kinds map[string]int
}

func (h *kindsHeard) Alert(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kinds == nil {
		h.kinds = map[string]int{}
	}
	h.kinds[kind]++
}

func (h *kindsHeard) count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kinds[kind]
}

func (*kindsHeard) Backlog(int, time.Duration)          {}
func (*kindsHeard) Removals(int, time.Duration)         {}
func (*kindsHeard) MissingKey()                         {}
func (*kindsHeard) NoBasis()                            {}
func (*kindsHeard) Log(int64, time.Duration, time.Time) {}
func (*kindsHeard) Live(bool)                           {}
func (*kindsHeard) Ledger(bool)                         {}
func (*kindsHeard) Anchored(bool)                       {}
func (*kindsHeard) Witnessed(bool)                      {}
func (*kindsHeard) Nodes(int, bool)                     {}
func (*kindsHeard) Drill(time.Time, bool)               {}
