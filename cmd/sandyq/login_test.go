package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/access/authn/issuertest"
	"github.com/sandyq/sandyq/vault/clock"
)

// attempt is a sandyq login that waits for the browser.
type attempt struct {
	url   string
	back  string         // where the browser is to come back
	lines *bufio.Scanner // of its answers
	ended chan ran
}

// beginLogin types sandyq login and reads where to log in.
func beginLogin(t *testing.T, args ...string) *attempt {
	t.Helper()
	out, in := io.Pipe()
	a := &attempt{lines: bufio.NewScanner(out), ended: make(chan ran, 1)}
	go func() {
		var errs bytes.Buffer
		code := run(t.Context(), &env{in: strings.NewReader(""), out: in, err: &errs}, append([]string{"login", "--json", "--timeout", "30s"}, args...))
		_ = in.Close()
		a.ended <- ran{code, "", errs.String()}
	}()
	var shown struct {
		URL string `json:"url"`
	}
	if !a.lines.Scan() {
		t.Fatalf("no address is shown: %+v", <-a.ended)
	}
	if err := json.Unmarshal(a.lines.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(shown.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.url, a.back = shown.URL, u.Query().Get("redirect_uri")
	return a
}

// end reads the last answer.
func (a *attempt) end(t *testing.T) (loggedIn, ran) {
	t.Helper()
	var done loggedIn
	if a.lines.Scan() {
		if err := json.Unmarshal(a.lines.Bytes(), &done); err != nil {
			t.Error(err)
		}
	}
	return done, <-a.ended
}

// open opens an address as a browser does and gives the page.
func open(t *testing.T, address string) (status int, page string) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Security-Policy") == "" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the page of %d is not guarded", resp.StatusCode)
	}
	return resp.StatusCode, string(b)
}

// TestLogin: a person logs in with a real provider, and the commands find the token.
func TestLogin(t *testing.T) {
	issuer := issuertest.Start(t)
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv(tokenFileVariable, "")
	t.Chdir(t.TempDir())

	a := beginLogin(t, "--issuer", issuer.Issuer, "--client-id", issuertest.Client)
	back := issuer.LogIn(a.url, issuertest.Aigerim, a.back)
	stray := *back
	stray.RawQuery = "state=x&code=y"
	if status, page := open(t, stray.String()); status != http.StatusBadRequest || !strings.Contains(page, "another attempt") {
		t.Errorf("a stray answer: %d %s", status, page)
	}
	status, page := open(t, back.String())
	for _, text := range []string{"Бұл терезені жабуға болады", "Это окно можно закрыть", "You may close this window"} {
		if status != http.StatusOK || !strings.Contains(page, text) {
			t.Errorf("the page of %d lacks %q", status, text)
		}
	}
	done, r := a.end(t)
	path := filepath.Join(config, "sandyq", "token")
	if r.code != exitDone || done.TokenFile != path || done.ExpiresAt.Sub(clock.System()).Abs() > 10*time.Minute {
		t.Fatalf("%+v %+v", done, r)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	token, err := (&remote{home: "nowhere"}).token()
	if err != nil || !authn.LooksLikeJWT(token) {
		t.Errorf("the commands do not find it: %v", err)
	}

	server := filepath.Join(t.TempDir(), "sandyq.yaml")
	if err := os.WriteFile(server, fmt.Appendf(nil, `home: home
auth:
  issuers: [{name: staff, url: %q, audience: %s, kind: staff, parties: [%s], roles_claim: realm_access.roles, roles: {pii-support: support}}]
`, issuer.Issuer, issuertest.Audience, issuertest.Client), 0o600); err != nil {
		t.Fatal(err)
	}
	served := start(t, "serve", "--dev", "--config", server)
	var me, errs bytes.Buffer
	if code := run(t.Context(), &env{in: strings.NewReader(""), out: &me, err: &errs}, []string{"whoami", "--json", "--server", served.API}); code != exitDone ||
		!strings.Contains(me.String(), `"staff/e-1042"`) || !strings.Contains(me.String(), `"support"`) {
		t.Errorf("whoami: %d %s %s", code, &me, &errs)
	}

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (&remote{home: "nowhere"}).token(); err == nil {
		t.Error("a token that others may read is used")
	}
	late := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, clock.System().Unix()-1))
	for name, text := range map[string]string{"expired": "e30." + late + ".x", "no JWT": "sst_x", "empty": ""} {
		if err := writeToken(path, text); err != nil {
			t.Fatal(err)
		}
		if token, err := (&remote{home: "nowhere"}).token(); err == nil || token != "" {
			t.Errorf("%s: it is used", name)
		}
	}
	if err := os.WriteFile("named", []byte("sst_named\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := (&remote{home: "nowhere", tokenFile: "named"}).token(); token != "sst_named" || err != nil {
		t.Errorf("a token that is named: %v", err)
	}
}

// TestLoginFails: what goes wrong is said in the terminal and in the browser, and no token is left.
func TestLoginFails(t *testing.T) {
	issuer := issuertest.Start(t)
	out := filepath.Join(t.TempDir(), "token")
	arguments := func(more ...string) []string {
		return append([]string{"--issuer", issuer.Issuer, "--client-id", issuertest.Client, "--out", out}, more...)
	}
	a := beginLogin(t, arguments()...)
	back := issuer.LogIn(a.url, issuertest.Aigerim, a.back)
	query := back.Query()
	query.Set("code", "x")
	back.RawQuery = query.Encode()
	if status, page := open(t, back.String()); status != http.StatusBadRequest || !strings.Contains(page, "See the terminal") {
		t.Errorf("%d %s", status, page)
	}
	if _, r := a.end(t); r.code != exitFailed || !strings.Contains(r.errors, "invalid_grant") {
		t.Errorf("%+v", r)
	}
	if _, r := beginLogin(t, arguments("--timeout", "1ms")...).end(t); r.code != exitFailed || !strings.Contains(r.errors, "wait for the browser") {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{
		{"--listen", "0.0.0.0:0"}, {"--listen", "127.0.0.1"}, {"--path", "callback"},
	} {
		if code, _, errors := sandyq(t, append([]string{"login"}, arguments(args...)...)...); code != exitUsage {
			t.Errorf("%v: %d %s", args, code, errors)
		}
	}
	issuer.Stop()
	if code, _, errors := sandyq(t, append([]string{"login"}, arguments()...)...); code != exitFailed || !strings.Contains(errors, "ask the issuer") {
		t.Errorf("%d %s", code, errors)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a token is left")
	}
}
