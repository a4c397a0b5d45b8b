package authn_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/access/authn/issuertest"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// hands is a clock that a test moves.
type hands struct {
	mu  sync.Mutex
	off time.Duration
}

func (h *hands) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return clock.System().Add(h.off)
}

func (h *hands) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off += d
}

func options(h *hands) authn.Options {
	return authn.Options{Now: h.now, Log: slog.New(slog.DiscardHandler)}
}

const redirect = "http://127.0.0.1:49152/callback"

// staff is what the vault believes of the provider's tokens.
func staff(issuer string) authn.IssuerConfig {
	return authn.IssuerConfig{
		Name: "staff", URL: issuer, Audience: issuertest.Audience, Tenant: "main", Kind: authn.KindStaff, Parties: []string{issuertest.Client},
		RolesClaim: "realm_access.roles", Roles: map[string]string{"pii-support": "support"}, DepartmentClaim: "department",
		SystemsClaim: "sandyq_systems", Strong: authn.StrongConfig{AMR: []string{"otp"}},
	}
}

func newIssuers(t *testing.T, h *hands, configs ...authn.IssuerConfig) *authn.Issuers {
	t.Helper()
	issuers, err := authn.NewIssuers(configs, options(h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuers.Close)
	return issuers
}

func newFlow(t *testing.T, h *hands, issuer string) *authn.Flow {
	t.Helper()
	flow, err := authn.NewFlow(t.Context(), authn.FlowConfig{Issuer: issuer, ClientID: issuertest.Client, RedirectURL: redirect}, options(h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(flow.Close)
	return flow
}

// logIn logs a person in and gives the access token.
func logIn(t *testing.T, s *issuertest.Server, flow *authn.Flow, user string) string {
	t.Helper()
	attempt, address := flow.Begin()
	login, err := flow.Finish(t.Context(), attempt, s.LogIn(address, user, redirect).Query())
	if err != nil {
		t.Fatal(err)
	}
	return login.AccessToken.Expose()
}

// TestProvider: with a real provider in a process of its own, people log in by the code flow, their tokens are verified, and
// its keys are followed.
func TestProvider(t *testing.T) {
	s := issuertest.Start(t)
	h := &hands{}
	flow := newFlow(t, h, s.Issuer)
	issuers := newIssuers(t, h, staff(s.Issuer))

	token := logIn(t, s, flow, issuertest.Aigerim)
	p, err := issuers.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if p.Tenant != "main" || p.System != "staff/e-1042" || !p.Strong || p.Department != "cc" ||
		!slices.Equal(p.Roles, []access.Role{access.Support}) || !slices.Equal(p.Systems, []string{"crm"}) || p.AllSystems ||
		p.Credential != "oidc:staff/ae370b6ca26e1bff7d5fe21569c53b91" {
		t.Errorf("%+v", p)
	}
	b, err := issuers.Behalf(t.Context(), "main", token)
	if err != nil || b.Actor != "staff/e-1042" || !b.Verified || !slices.Equal(b.Roles, []access.Role{access.Support}) || b.Department != "cc" {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := issuers.Behalf(t.Context(), "other", token); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("in another tenant: %v", err)
	}
	if _, err := issuers.Verify(t.Context(), logIn(t, s, flow, issuertest.Nobody)); !errors.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "role") {
		t.Errorf("without a role: %v", err)
	}

	s.Rotate()
	rotated := logIn(t, s, flow, issuertest.Aigerim)
	if _, err := issuers.Verify(t.Context(), rotated); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a new key was fetched at once after another fetch: %v", err)
	}
	h.move(11 * time.Second)
	for _, token := range []string{token, rotated} {
		if _, err := issuers.Verify(t.Context(), token); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	}
	s.Forget()
	h.move(5*time.Minute + time.Second) // keys are old after five minutes; the tokens expire then, but for the skew
	if _, err := issuers.Verify(t.Context(), token); !errors.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "kid") {
		t.Errorf("with a key that was withdrawn: %v", err)
	}

	s.Stop()
	h.move(10 * time.Second)
	other := authn.IssuerConfig{Name: "other", URL: "http://127.0.0.1:1", Audience: "sandyq", Kind: authn.KindSystem}
	if _, err := newIssuers(t, h, staff(s.Issuer), other).Verify(t.Context(), rotated); !errors.Is(err, fault.Unavailable) {
		t.Errorf("with an issuer that is away: %v", err)
	}
}

// TestFlow: what comes back is believed only when it is the answer to this attempt.
func TestFlow(t *testing.T) {
	s := issuertest.Start(t)
	h := &hands{}
	flow := newFlow(t, h, s.Issuer)
	finish := func(change func(*authn.Attempt, url.Values)) error {
		attempt, address := flow.Begin()
		answer := s.LogIn(address, issuertest.Aigerim, redirect).Query()
		change(&attempt, answer)
		_, err := flow.Finish(t.Context(), attempt, answer)
		return err
	}
	if err := finish(func(*authn.Attempt, url.Values) {}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*authn.Attempt, url.Values){
		"another state":    func(_ *authn.Attempt, v url.Values) { v.Set("state", "x") },
		"no state":         func(_ *authn.Attempt, v url.Values) { v.Del("state") },
		"a zero attempt":   func(a *authn.Attempt, v url.Values) { *a = authn.Attempt{}; v.Del("state") },
		"two codes":        func(_ *authn.Attempt, v url.Values) { v.Add("code", "x") },
		"no code":          func(_ *authn.Attempt, v url.Values) { v.Del("code") },
		"another code":     func(_ *authn.Attempt, v url.Values) { v.Set("code", "x") },
		"another issuer":   func(_ *authn.Attempt, v url.Values) { v.Set("iss", "https://other.example") },
		"a refusal":        func(_ *authn.Attempt, v url.Values) { v.Set("error", "access_denied") },
		"another nonce":    func(a *authn.Attempt, _ url.Values) { a.Nonce = "x" },
		"another verifier": func(a *authn.Attempt, _ url.Values) { a.Verifier = strings.Repeat("x", 43) },
	} {
		if err := finish(change); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	attempt, address := flow.Begin()
	for _, stray := range []string{"state=x&state=y", "state=x&code=a&code=b", "code=a&code=b", "error=a&error=b", ""} {
		strays, err := url.ParseQuery(stray)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := flow.Finish(t.Context(), attempt, strays); !errors.Is(err, authn.ErrState) {
			t.Errorf("an answer of somebody who does not know the state, %q, ends the attempt: %v", stray, err)
		}
	}
	answer := s.LogIn(address, issuertest.Aigerim, redirect).Query()
	if _, err := flow.Finish(t.Context(), attempt, answer); err != nil {
		t.Fatal(err)
	}
	if _, err := flow.Finish(t.Context(), attempt, answer); err == nil {
		t.Error("a code is good twice")
	}
}

// TestIDTokens: of what an issuer hands over for a code, only what is right, and for this attempt, is a login.
func TestIDTokens(t *testing.T) {
	s, h := newSigner(t), &hands{}
	flow, err := authn.NewFlow(t.Context(), authn.FlowConfig{Issuer: s.URL, ClientID: "cli", RedirectURL: redirect}, options(h))
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	sum := sha256.Sum256([]byte("access"))
	for name, test := range map[string]struct {
		change func(said) said
		head   said
		good   bool
	}{
		"right":              {func(c said) said { return c }, rs256, true},
		"two audiences, azp": {func(c said) said { return c.with("aud", []string{"cli", "x"}).with("azp", "cli") }, rs256, true},
		"no at_hash":         {func(c said) said { return c.with("at_hash", nil) }, rs256, true},
		"another at_hash":    {func(c said) said { return c.with("at_hash", b64(make([]byte, 16))) }, rs256, false},
		"another azp":        {func(c said) said { return c.with("azp", "x") }, rs256, false},
		"two audiences":      {func(c said) said { return c.with("aud", []string{"cli", "x"}) }, rs256, false},
		"another audience":   {func(c said) said { return c.with("aud", "x") }, rs256, false},
		"another issuer":     {func(c said) said { return c.with("iss", "https://x.example") }, rs256, false},
		"expired":            {func(c said) said { return c.with("exp", h.now().Add(-time.Second).Unix()) }, rs256, false},
		"no nonce":           {func(c said) said { return c.with("nonce", nil) }, rs256, false},
		"none":               {func(c said) said { return c }, said{"alg": "none"}, false},
		"a shared secret":    {func(c said) said { return c }, said{"alg": "HS256", "kid": "rsa1"}, false},
	} {
		attempt, _ := flow.Begin()
		claims := said{
			"iss": s.URL, "aud": "cli", "sub": "e-1042", "iat": h.now().Unix(), "exp": h.now().Add(time.Minute).Unix(),
			"nonce": attempt.Nonce, "at_hash": b64(sum[:16]),
		}
		answer := fmt.Sprintf(`{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": %q}`, s.sign(test.head, test.change(claims)))
		s.tokens.Store(&answer)
		login, err := flow.Finish(t.Context(), attempt, url.Values{"state": {attempt.State}, "code": {"x"}})
		if (err == nil) != test.good || err == nil && (login.Subject != "e-1042" || login.AccessToken.Expose() != "access") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "e-1042") || strings.Contains(err.Error(), "x.example")) {
			t.Errorf("%s: the error says what the token does: %v", name, err)
		}
	}
	attempt, _ := flow.Begin()
	answer := `{"access_token": "access", "token_type": "Bearer"}`
	s.tokens.Store(&answer)
	if _, err := flow.Finish(t.Context(), attempt, url.Values{"state": {attempt.State}, "code": {"x"}}); err == nil {
		t.Error("without an ID token somebody is logged in")
	}
	attempt, _ = flow.Begin()
	s.tokens.Store(nil)
	if _, err := flow.Finish(t.Context(), attempt, url.Values{"state": {attempt.State}, "code": {"x"}}); err == nil || s.strayed.Load() != 0 {
		t.Errorf("the code followed a redirect: %v", err)
	}
}
