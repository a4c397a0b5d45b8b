package authn_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAlgorithms: each signature of the default list verifies, with the key of its kid or with any.
func TestAlgorithms(t *testing.T) {
	s, h := newSigner(t), &hands{}
	issuers := newIssuers(t, h, s.config())
	for alg, kid := range map[string]string{"RS256": "rsa1", "PS256": "rsa1", "ES256": "ec1", "EdDSA": "ed1"} {
		for _, head := range []said{{"alg": alg, "typ": "at+jwt", "kid": kid}, {"alg": alg, "typ": "application/AT+JWT"}, {"alg": alg, "typ": "jwt"}} {
			p, err := issuers.Verify(t.Context(), s.sign(head, s.claims(h.now())))
			if err != nil || p.System != "own/e-1042" || !p.Has(access.PrivacyOfficer) || p.Strong || p.AllSystems || p.Systems != nil {
				t.Errorf("%v: %+v, %v", head, p, err)
			}
		}
	}
}

// TestRefusedTokens: whatever is wrong with a token, nobody is let in, and the error says neither token nor claim.
func TestRefusedTokens(t *testing.T) {
	s, other, h := newSigner(t), newSigner(t), &hands{}
	second := other.config()
	second.Name = "second"
	issuers := newIssuers(t, h, s.config(), second)
	now := h.now()
	good := s.claims(now)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	if _, err := issuers.Verify(t.Context(), s.sign(rs256, good)); err != nil {
		t.Fatal(err)
	}
	if _, err := (*authn.Issuers)(nil).Verify(t.Context(), s.sign(rs256, good)); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("where no issuer is believed: %v", err)
	}
	parts := strings.Split(s.sign(rs256, good), ".")
	elsewhere := strings.Split(s.sign(rs256, good.with("sub", "e-1")), ".")
	text := func(head, claims string) string { return s.signText("RS256", head, claims) }
	plain := `{"alg":"RS256","kid":"rsa1","typ":"JWT"}`
	whole := func(more string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":"sandyq","sub":"e-1042","iat":%d,"exp":%d,"roles":["dpo"]%s}`, s.URL, at(0), at(time.Hour), more)
	}
	if _, err := issuers.Verify(t.Context(), text(plain, whole(""))); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"nothing":                "",
		"no JWT":                 "sst_00041061050r3gg28a1c60t3gf0g2491650n2rbhg68t3ce1t7gz1044h269154rkjga9a5cp2tbhf",
		"two parts":              parts[0] + "." + parts[1],
		"four parts":             s.sign(rs256, good) + ".x",
		"a space":                " " + s.sign(rs256, good),
		"padding":                parts[0] + "." + parts[1] + "=." + parts[2],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"another's signature":    parts[0] + "." + parts[1] + "." + elsewhere[2],
		"another's claims":       parts[0] + "." + elsewhere[1] + "." + parts[2],
		"oversized":              s.sign(rs256, good.with("note", strings.Repeat("x", 8<<10))),
		"alg none":               s.sign(rs256.with("alg", "none"), good),
		"alg none, signed":       s.sign(rs256.with("alg", "none"), good) + parts[2],
		"HS256 with public key":  s.sign(rs256.with("alg", "HS256"), good),
		"RS512":                  s.sign(rs256.with("alg", "RS512"), good),
		"no alg":                 s.signText("RS256", `{"typ":"JWT"}`, whole("")),
		"ES256 with RSA's kid":   s.sign(said{"alg": "ES256", "typ": "JWT", "kid": "rsa1"}, good),
		"PS256 with RS256's key": s.sign(said{"alg": "PS256", "typ": "JWT", "kid": "rs256"}, good),
		"bits left over":         parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + leftOver(parts[2][len(parts[2])-1]),
		"a key for encryption":   s.sign(rs256.with("kid", "enc"), good),
		"another typ":            s.sign(rs256.with("typ", "logout+jwt"), good),
		"no typ":                 s.sign(rs256.with("typ", nil), good),
		"crit":                   s.sign(rs256.with("crit", []string{"exp"}), good),
		"crit null":              s.sign(rs256.with("crit", []string{}), good),
		"the other's issuer":     s.sign(rs256, good.with("iss", other.URL)),
		"signed by the other":    other.sign(rs256, good),
		"unknown issuer":         s.sign(rs256, good.with("iss", "https://x.example")),
		"issuer with a slash":    s.sign(rs256, good.with("iss", s.URL+"/")),
		"no issuer":              s.sign(rs256, good.with("iss", nil)),
		"issuer no text":         s.sign(rs256, good.with("iss", []string{s.URL})),
		"another audience":       s.sign(rs256, good.with("aud", "crm")),
		"no audience":            s.sign(rs256, good.with("aud", nil)),
		"audience in part":       s.sign(rs256, good.with("aud", "sandyq2")),
		"two audiences":          s.sign(rs256, good.with("aud", []string{"sandyq", "crm"})),
		"audience no text":       s.sign(rs256, good.with("aud", []any{"sandyq", 1})),
		"azp and client differ":  s.sign(rs256, good.with("client_id", "x")),
		"no exp":                 s.sign(rs256, good.with("exp", nil)),
		"exp a text":             s.sign(rs256, good.with("exp", "9999999999")),
		"exp out of range":       s.sign(rs256, good.with("exp", 1e300)),
		"expired":                s.sign(rs256, good.with("iat", at(-time.Hour)).with("exp", at(-31*time.Second))),
		"no iat":                 s.sign(rs256, good.with("iat", nil)),
		"iat in the future":      s.sign(rs256, good.with("iat", at(32*time.Second))),
		"nbf in the future":      s.sign(rs256, good.with("nbf", at(32*time.Second))),
		"good for too long":      s.sign(rs256, good.with("exp", at(24*time.Hour+time.Second))),
		"cnf":                    s.sign(rs256, good.with("cnf", said{"jkt": "x"})),
		"cnf null":               text(plain, whole(`,"cnf":null`)),
		"cnf of a certificate":   s.sign(rs256, good.with("cnf", said{"x5t#S256": b64(make([]byte, 32))})),
		"an ID token":            s.sign(rs256, good.with("at_hash", "x")),
		"no sub":                 s.sign(rs256, good.with("sub", nil)),
		"sub no name":            s.sign(rs256, good.with("sub", "a/b")),
		"an IIN":                 s.sign(rs256, good.with("sub", "850312113646")),
		"an IIN in a name":       s.sign(rs256, good.with("sub", "u-850312113646")),
		"no role":                s.sign(rs256, good.with("roles", []string{"privacy_officer"})),
		"roles no list":          s.sign(rs256, good.with("roles", said{"dpo": true})),
		"a system's bad name":    s.sign(rs256, good.with("systems", []string{"CRM"})),
		"a claim twice":          text(plain, whole(`,"roles":["cc"]`)),
		"a claim twice inside":   text(plain, whole(`,"x":{"y":1,"y":2}`)),
		"a header twice":         text(`{"alg":"RS256","kid":"rsa1","typ":"JWT","typ":"JWT"}`, whole("")),
		"text after the claims":  text(plain, whole("")+"{}"),
		"claims no object":       text(plain, `["iss"]`),
		"claims null":            text(plain, `null`),
		"no UTF-8":               text(plain, whole(",\"x\":\"\xff\"")),
	} {
		p, err := issuers.Verify(t.Context(), token)
		if !errors.Is(err, fault.Unauthenticated) || p.System != "" || p.Roles != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
			continue
		}
		for _, secret := range []string{"850312113646", "e-1042", "crm", s.URL, "dpo", "eyJ"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error says %s", name, secret)
			}
		}
		if detail := fault.From(err).Detail; detail != "a valid credential is required" {
			t.Errorf("%s: the sender is told %q", name, detail)
		}
	}
}

// leftOver is another last character of an RSA signature in base64url, of which two bits count.
func leftOver(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)|1])
}

// TestWeakKey: a key that is too short is none.
func TestWeakKey(t *testing.T) {
	s, h := newSigner(t), &hands{}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	s.rsa = weak
	if _, err := newIssuers(t, h, s.config()).Verify(t.Context(), s.sign(rs256, s.claims(h.now()))); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("%v", err)
	}
}

// TestClockSkew: an issuer's clock may be off by what is configured, either way, and no more.
func TestClockSkew(t *testing.T) {
	s, h := newSigner(t), &hands{}
	c := s.config()
	c.ClockSkew = 2 * time.Minute
	issuers := newIssuers(t, h, c)
	now := h.now()
	for name, times := range map[string]struct {
		iat, nbf, exp time.Duration
		good          bool
	}{
		"behind, within":    {-time.Hour, -time.Hour, -110 * time.Second, true},
		"behind, beyond":    {-time.Hour, -time.Hour, -121 * time.Second, false},
		"ahead, within":     {110 * time.Second, 110 * time.Second, time.Hour, true},
		"iat ahead, beyond": {130 * time.Second, 0, time.Hour, false},
		"nbf ahead, beyond": {0, 130 * time.Second, time.Hour, false},
	} {
		token := s.sign(rs256, s.claims(now).with("iat", now.Add(times.iat).Unix()).with("nbf", now.Add(times.nbf).Unix()).with("exp", now.Add(times.exp).Unix()))
		if _, err := issuers.Verify(t.Context(), token); (err == nil) != times.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParties: a token for several audiences, or of an issuer with parties, must be made for one of them.
func TestParties(t *testing.T) {
	s, h := newSigner(t), &hands{}
	c := s.config()
	c.Parties = []string{"web", "cli"}
	issuers := newIssuers(t, h, c)
	both := []string{"crm", "sandyq"}
	for name, test := range map[string]struct {
		claims said
		good   bool
	}{
		"azp":             {s.claims(h.now()).with("aud", both), true},
		"client_id":       {s.claims(h.now()).with("aud", both).with("azp", nil).with("client_id", "cli"), true},
		"another":         {s.claims(h.now()).with("azp", "crm"), false},
		"none":            {s.claims(h.now()).with("azp", nil), false},
		"another, in two": {s.claims(h.now()).with("aud", both).with("azp", "crm"), false},
	} {
		if _, err := issuers.Verify(t.Context(), s.sign(rs256, test.claims)); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClaims: what the claims of a good token make of its bearer.
func TestClaims(t *testing.T) {
	s, h := newSigner(t), &hands{}
	c := s.config()
	c.ActorClaim, c.DepartmentClaim, c.Systems = "employee", "unit", []string{"billing"}
	issuers := newIssuers(t, h, c)
	claims := s.claims(h.now()).with("unit", "Бөлім 7").with("roles", []string{"cc", "x", "dpo", "cc"}).with("systems", []string{"crm", "billing"})
	p, err := issuers.Verify(t.Context(), s.sign(rs256, claims.with("acr", "high")))
	if err != nil || p.System != "own/a.sarsenova" || p.Department != "Бөлім 7" || p.Tenant != "main" || !p.Strong ||
		!slices.Equal(p.Roles, []access.Role{access.PrivacyOfficer, access.Support}) || !slices.Equal(p.Systems, []string{"billing", "crm"}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, weak := range []said{claims, claims.with("acr", "low"), claims.with("amr", []string{"pwd"}), claims.with("acr", "")} {
		if p, err := issuers.Verify(t.Context(), s.sign(rs256, weak)); err != nil || p.Strong {
			t.Errorf("%v: %+v, %v", weak, p, err)
		}
	}
	if p, err := issuers.Verify(t.Context(), s.sign(rs256, claims.with("systems", "*").with("amr", []string{"pwd", "hwk"}))); err != nil || !p.AllSystems || !p.Strong {
		t.Errorf("%+v, %v", p, err)
	}
	for name, department := range map[string]any{"a number": 7, "long": strings.Repeat("я", 101), "a line": "a\nb", "an IIN": "850312113646"} {
		if _, err := issuers.Verify(t.Context(), s.sign(rs256, claims.with("unit", department))); err == nil {
			t.Errorf("a department that is %s", name)
		}
	}
	uuid := "0b2c1d3e-0000-4000-8000-123456789012"
	if p, err := issuers.Verify(t.Context(), s.sign(rs256, claims.with("employee", uuid))); err != nil || p.System != "own/"+uuid {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestKinds: each kind of issuer is believed about whom it is for, even when several have one URL.
func TestKinds(t *testing.T) {
	s, h := newSigner(t), &hands{}
	systems := authn.IssuerConfig{Name: "machines", URL: s.URL, Audience: "sandyq-systems", Tenant: "second", Kind: authn.KindSystem}
	agents := authn.IssuerConfig{Name: "agents", URL: s.URL, Audience: "sandyq-agents", Tenant: "main", Kind: authn.KindBehalf}
	issuers := newIssuers(t, h, s.config(), systems, agents)
	token := func(audience any) string {
		return s.sign(rs256, s.claims(h.now()).with("aud", audience).with("azp", "crm"))
	}

	p, err := issuers.Verify(t.Context(), token("sandyq-systems"))
	if err != nil || p.System != "crm" || p.Tenant != "second" || !slices.Equal(p.Roles, []access.Role{access.Application}) || p.VaultWide() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = issuers.Verify(t.Context(), token("sandyq")); err != nil || p.System != "own/e-1042" || !p.VaultWide() {
		t.Errorf("%+v, %v", p, err)
	}
	b, err := issuers.Behalf(t.Context(), "main", token("sandyq-agents"))
	if err != nil || b.Actor != "agents/e-1042" || !b.Verified || len(b.Roles) != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := issuers.Verify(t.Context(), token("sandyq-agents")); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("an agent calls: %v", err)
	}
	if b, err := issuers.Behalf(t.Context(), "second", token("sandyq-systems")); !errors.Is(err, fault.Unauthenticated) || b.Verified {
		t.Errorf("a system stands behind another: %v", err)
	}
	if _, err := issuers.Verify(t.Context(), token([]string{"sandyq", "sandyq-systems"})); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("for both: %v", err)
	}
	for _, name := range []string{"own/e-1042", "CRM", ""} {
		if _, err := issuers.Verify(t.Context(), s.sign(rs256, s.claims(h.now()).with("aud", "sandyq-systems").with("azp", name))); err == nil {
			t.Errorf("a system is called %q", name)
		}
	}
}

// TestForgedKids: a stream of tokens with kids that nobody has is no stream of fetches, and good ones go on.
func TestForgedKids(t *testing.T) {
	s, h := newSigner(t), &hands{}
	issuers := newIssuers(t, h, s.config())
	good := s.sign(rs256, s.claims(h.now()))
	if _, err := issuers.Verify(t.Context(), good); err != nil || s.fetches.Load() != 1 {
		t.Fatalf("%d fetches, %v", s.fetches.Load(), err)
	}
	forge := func() {
		var callers sync.WaitGroup
		for n := range 200 {
			callers.Go(func() {
				if _, err := issuers.Verify(t.Context(), s.sign(rs256.with("kid", fmt.Sprint(n)), s.claims(h.now()))); !errors.Is(err, fault.Unauthenticated) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	forge()
	if n := s.fetches.Load(); n != 1 {
		t.Errorf("%d fetches at once", n)
	}
	h.move(10 * time.Second)
	forge()
	if n := s.fetches.Load(); n != 2 {
		t.Errorf("%d fetches after ten seconds", n)
	}
	if _, err := issuers.Verify(t.Context(), good); err != nil {
		t.Error(err)
	}
	s.rename("2")
	h.move(10 * time.Second)
	if _, err := issuers.Verify(t.Context(), s.sign(rs256.with("kid", "rsa2"), s.claims(h.now()))); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if _, err := issuers.Verify(t.Context(), good); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a key that is no more: %v", err)
	}
}

// TestIssuerAway: an issuer that cannot be reached fails its own tokens only; its keys serve on for an hour; it is asked ever
// more seldom, and found when it is back.
func TestIssuerAway(t *testing.T) {
	s, away, h := newSigner(t), newSigner(t), &hands{}
	var log bytes.Buffer
	o := options(h)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	second := away.config()
	second.Name = "second"
	issuers, err := authn.NewIssuers([]authn.IssuerConfig{s.config(), second}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer issuers.Close()
	verify := func(of *signer) error {
		_, err := issuers.Verify(t.Context(), of.sign(rs256, of.claims(h.now())))
		return err
	}
	away.status.Store(http.StatusBadGateway)
	for range 5 {
		if err := verify(away); !errors.Is(err, fault.Unavailable) {
			t.Errorf("away: %v", err)
		}
		if err := verify(s); err != nil {
			t.Errorf("the other: %v", err)
		}
	}
	if n := away.fetches.Load(); n != 1 {
		t.Errorf("%d fetches in one moment", n)
	}
	for range 600 {
		h.move(time.Second)
		_ = verify(away)
	}
	if n := away.fetches.Load(); n < 10 || n > 20 {
		t.Errorf("%d fetches in ten minutes", n)
	}
	away.status.Store(0)
	h.move(time.Minute)
	if err := verify(away); err != nil {
		t.Errorf("back: %v", err)
	}
	away.status.Store(http.StatusInternalServerError)
	h.move(59 * time.Minute)
	if err := verify(away); err != nil {
		t.Errorf("by the keys of before: %v", err)
	}
	h.move(2 * time.Minute)
	if err := verify(away); !errors.Is(err, fault.Unavailable) {
		t.Errorf("by keys of an hour ago: %v", err)
	}
	if text := log.String(); strings.Count(text, "out of reach") != 2 || strings.Count(text, "is back") != 1 {
		t.Errorf("the log: %s", text)
	}
}

// TestHostileDocuments: what an issuer may not say of itself.
func TestHostileDocuments(t *testing.T) {
	names := func(keys string) func(string) string {
		return func(u string) string { return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, u, keys) }
	}
	for name, test := range map[string]struct {
		document func(issuer string) string
		why      string
	}{
		"another issuer": {func(u string) string {
			return fmt.Sprintf(`{"issuer": "https://x.example", "jwks_uri": %q}`, u+"/keys")
		}, "did not match"},
		"keys in the clear": {names("http://192.0.2.1/keys"), "neither https nor loopback"},
		"keys in a file":    {names("file:///etc/passwd"), "neither https nor loopback"},
		"keys that moved":   {func(u string) string { return names(u + "/moved")(u) }, "status 302"},
		"no keys":           {names(""), ""},
		"too long": {func(u string) string {
			return fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q, "x": %q}`, u, u+"/keys", strings.Repeat("x", 1<<20))
		}, ""},
		"no JSON": {func(string) string { return "<html>" }, ""},
	} {
		s, h := newSigner(t), &hands{}
		s.document.Store(&test.document)
		var log bytes.Buffer
		o := options(h)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		issuers, err := authn.NewIssuers([]authn.IssuerConfig{s.config()}, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := issuers.Verify(t.Context(), s.sign(rs256, s.claims(h.now()))); !errors.Is(err, fault.Unavailable) || !strings.Contains(log.String(), test.why) {
			t.Errorf("%s: %v, and the log: %s", name, err, &log)
		}
		issuers.Close()
	}
}

func TestIssuerRules(t *testing.T) {
	for name, change := range map[string]func(*authn.IssuerConfig){
		"no name":           func(c *authn.IssuerConfig) { c.Name = "" },
		"a name with /":     func(c *authn.IssuerConfig) { c.Name = "a/b" },
		"in the clear":      func(c *authn.IssuerConfig) { c.URL = "http://id.example" },
		"a query":           func(c *authn.IssuerConfig) { c.URL = "https://id.example?x" },
		"no audience":       func(c *authn.IssuerConfig) { c.Audience = "" },
		"no kind":           func(c *authn.IssuerConfig) { c.Kind = "" },
		"much skew":         func(c *authn.IssuerConfig) { c.ClockSkew = 6 * time.Minute },
		"none":              func(c *authn.IssuerConfig) { c.Algorithms = []string{"none"} },
		"a shared secret":   func(c *authn.IssuerConfig) { c.Algorithms = []string{"RS256", "HS256"} },
		"no roles":          func(c *authn.IssuerConfig) { c.Roles = nil },
		"an unknown role":   func(c *authn.IssuerConfig) { c.Roles = map[string]string{"x": "root"} },
		"staff as a system": func(c *authn.IssuerConfig) { c.Roles = map[string]string{"x": "application"} },
		"a system's roles":  func(c *authn.IssuerConfig) { c.Kind = authn.KindSystem },
		"a tenant's name":   func(c *authn.IssuerConfig) { c.Tenant = "A" },
		"a system's name":   func(c *authn.IssuerConfig) { c.Systems = []string{"A"} },
		"an empty party":    func(c *authn.IssuerConfig) { c.Parties = []string{""} },
		"no authorities":    func(c *authn.IssuerConfig) { c.CAFile = "/nowhere" },
	} {
		c := authn.IssuerConfig{Name: "own", URL: "https://id.example", Audience: "sandyq", Kind: authn.KindStaff, Roles: map[string]string{"x": "staff"}}
		change(&c)
		if _, err := authn.NewIssuers([]authn.IssuerConfig{c}, options(&hands{})); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	c := authn.IssuerConfig{Name: "own", URL: "https://id.example", Audience: "sandyq", Kind: authn.KindSystem}
	twin, namesake := c, c
	twin.Name, namesake.Audience = "other", "other"
	for _, second := range []authn.IssuerConfig{twin, namesake} {
		if err := authn.CheckIssuers([]authn.IssuerConfig{c, second}); err == nil {
			t.Errorf("%+v beside %+v", second, c)
		}
	}
}

func TestExpires(t *testing.T) {
	s := newSigner(t)
	now := (&hands{}).now().Truncate(time.Second)
	if at, ok := authn.Expires(s.sign(rs256, s.claims(now))); !ok || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("%v %v", at, ok)
	}
	for _, token := range []string{"", known, s.sign(rs256, s.claims(now).with("exp", nil)), s.sign(rs256, s.claims(now).with("exp", "x"))} {
		if _, ok := authn.Expires(token); ok {
			t.Errorf("%.20q expires", token)
		}
	}
}

func TestLooksLikeJWT(t *testing.T) {
	for text, want := range map[string]bool{
		"a.b.c": true, "eyJ.e-_.0": true, known: false, "": false, "a.b": false, "a.b.c.d": false, "a..c": false, ".b.c": false, "a.b.": false, "a.b=.c": false, "a.b.c ": false,
	} {
		if authn.LooksLikeJWT(text) != want {
			t.Errorf("%q", text)
		}
	}
}

// FuzzVerify: no text, nor any claims under a right signature, make a verifier panic; what it lets in has a name fit for the
// log.
func FuzzVerify(f *testing.F) {
	s, h := newSigner(f), &hands{}
	issuers, err := authn.NewIssuers([]authn.IssuerConfig{s.config()}, options(h))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(issuers.Close)
	good := s.sign(said{"alg": "EdDSA", "typ": "JWT", "kid": "ed1"}, s.claims(h.now()))
	f.Add(good, `{"alg":"EdDSA","kid":"ed1","typ":"JWT"}`, `{}`)
	f.Add("a.b.c", `{"alg":"EdDSA","typ":"JWT"}`, fmt.Sprintf(`{"iss":%q,"aud":["sandyq"],"sub":"x","iat":%d,"exp":%d,"roles":"dpo"}`, s.URL, h.now().Unix(), h.now().Unix()+80000))
	f.Add(known, `{"crit":[]}`, `[]`)
	f.Fuzz(func(t *testing.T, text, head, claims string) {
		for _, token := range []string{text, s.signText("EdDSA", head, claims)} {
			authn.Expires(token)
			p, err := issuers.Verify(t.Context(), token)
			if err == nil && (token == "" || !strings.HasPrefix(p.System, "own/") || len(p.Roles) == 0 || !authn.LooksLikeJWT(token)) {
				t.Fatalf("%q is %+v", token, p)
			}
			if err != nil && !errors.Is(err, fault.Unauthenticated) && !errors.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
		}
	})
}
