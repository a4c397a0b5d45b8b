// Package issuertest runs a real OpenID provider for tests: that of github.com/zitadel/oidc, in a process of its own on
// loopback. It is built once, from the nested module in build/ (so that its many modules are none of the product's), into
// the user's cache. See build/main.go for its people and clients.
package issuertest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Audience is the audience of every access token.
const Audience = "sandyq"

// Client is the public client; its redirect URL is http://127.0.0.1/callback, on any port.
const Client = "sandyq-cli"

// The people, by the names that they log in with.
const (
	Aigerim = "aigerim" // sub e-1042, realm_access.roles pii-support, department cc, amr pwd and otp, sandyq_systems crm
	Nobody  = "nobody"  // sub e-2000, no role
)

const password = "verysecure"

// Server is a provider that runs.
type Server struct {
	Issuer  string
	t       testing.TB
	binary  string
	process *exec.Cmd
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	binary, err := build(t.Context())
	if err != nil {
		t.Fatalf("build the provider: %v", err)
	}
	s := &Server{t: t, binary: binary}
	s.start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) start() {
	s.t.Helper()
	s.process = exec.Command(s.binary, "-listen", "127.0.0.1:0") //nolint:gosec // the binary is built here
	out, err := s.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.Stop()
		s.t.Fatalf("the provider says nothing: %v", err)
	}
	s.Issuer = strings.TrimSpace(line)
}

// Stop ends the provider's process.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended
	_ = s.process.Wait()
	s.process = nil
}

// Rotate gives the provider a new key, which signs from now on. The old ones still verify until Forget.
func (s *Server) Rotate() { s.t.Helper(); s.post("/test/rotate") }

// Forget withdraws every key but the newest.
func (s *Server) Forget() { s.t.Helper(); s.post("/test/forget") }

func (s *Server) post(path string) {
	s.t.Helper()
	resp, err := http.Post(s.Issuer+path, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: status %d", path, resp.StatusCode)
	}
}

// LogIn does what a person does in a browser: opens address, fills in the form and follows the provider until the browser
// would be sent to an address that begins with redirect, which is returned and not opened.
func (s *Server) LogIn(address, user, redirect string) *url.URL {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	var back *url.URL
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			back = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	defer browser.CloseIdleConnections()
	form, err := browser.Get(address)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = form.Body.Close()
	if back != nil {
		return back // the provider refuses before it asks who it is
	}
	at := *form.Request.URL
	if at.Path != "/login/username" {
		s.t.Fatalf("the provider shows %s with status %d", at.Path, form.StatusCode)
	}
	answer, err := browser.PostForm(s.Issuer+at.Path, url.Values{
		"id": {at.Query().Get("authRequestID")}, "username": {user}, "password": {password},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	if back == nil {
		s.t.Fatalf("the provider sends nobody back: status %d", answer.StatusCode)
	}
	return back
}

// build compiles the provider into the user's cache, unless it is there.
func build(ctx context.Context) (string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	name, err := nameOf(source)
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "sandyq", name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(path), "issuer-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // it holds nothing that is missed
	made := filepath.Join(scratch, "issuer")
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", made, ".") //nolint:gosec // the path is made here
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in %s: %w\n%s", source, err, out)
	}
	return path, os.Rename(made, path) // of several that built at once, any does
}

// sourceDir is where the nested module lies, from wherever in this module a test runs.
func sourceDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	mod := string(bytes.TrimSpace(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("not in a module")
	}
	return filepath.Join(filepath.Dir(mod), "access", "authn", "issuertest", "build"), nil
}

// nameOf names what is built of the sources: other sources give another name.
func nameOf(source string) (string, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(source, entry.Name()))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n", entry.Name(), len(content)) // a hash takes everything
		_, _ = sum.Write(content)
	}
	return "issuer-" + hex.EncodeToString(sum.Sum(nil)[:6]), nil
}
