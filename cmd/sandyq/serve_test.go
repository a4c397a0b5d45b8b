package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// register stores a family name and gives its token.
func register(ctx context.Context, c *client.Client, name string) (string, error) {
	resp, err := c.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{
		{Fields: map[string]api.OneOrMany[api.Value]{"family_name": api.One(api.Text(name))}},
	}})
	if err != nil {
		return "", err
	}
	if e := resp.Results[0].Error; e != nil {
		return "", fmt.Errorf("%s: %s", e.Code, e.Detail)
	}
	return resp.Results[0].Tokens["family_name"].Items[0], nil
}

// recall gives the value of a token.
func recall(ctx context.Context, c *client.Client, token string) (string, error) {
	resp, err := c.Detokenize(ctx, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Form: "plain", Tokens: []string{token}})
	if err != nil {
		return "", err
	}
	if e := resp.Results[0].Error; e != nil {
		return "", fmt.Errorf("%s: %s", e.Code, e.Detail)
	}
	text, _ := resp.Results[0].Value.Text()
	return text, nil
}

func TestDevLifecycle(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := start(t, "serve", "--dev", "--home", home)
	if !s.Dev || s.Token == "" || s.Home != home || s.TokenFile != filepath.Join(home, "dev.token") {
		t.Errorf("announced %+v", s.serving)
	}
	for _, name := range []string{".", "store", "documents", "keyring", "ledger", "keyring/local"} {
		if got := mode(t, filepath.Join(home, name)); got != 0o700 {
			t.Errorf("%s has mode %#o", name, got)
		}
	}
	for _, name := range []string{"dev.token", "keyring/root.key"} {
		if got := mode(t, filepath.Join(home, name)); got != 0o600 {
			t.Errorf("%s has mode %#o", name, got)
		}
	}
	if kept, err := os.ReadFile(s.TokenFile); err != nil || string(kept) != s.Token+"\n" {
		t.Errorf("dev.token does not hold the token that was printed: %v", err)
	}
	c := s.client(t)
	token, err := register(t.Context(), c, "Сәрсенова")
	if err != nil {
		t.Fatal(err)
	}
	checkOps(t, s)
	c.Close()
	if code := s.stop(t); code != 0 {
		t.Errorf("SIGTERM: exit code %d: %s", code, s.stderr)
	}
	if !strings.Contains(s.stderr.String(), "NOT SAFE") {
		t.Errorf("no warning: %s", s.stderr)
	}
	if strings.Contains(s.stderr.String(), s.Token) || strings.Contains(s.stderr.String(), "Сәрсенова") {
		t.Errorf("the log holds a secret: %s", s.stderr)
	}

	again := start(t, "serve", "--dev", "--home", home)
	if again.Token != "" {
		t.Error("a second start made another token")
	}
	if got, err := recall(t.Context(), again.client(t), token); err != nil || got != "Сәрсенова" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func checkOps(t *testing.T, s *server) {
	t.Helper()
	if status, body := s.get(t, "/healthz"); status != http.StatusOK || body != `{"alive":true}` {
		t.Errorf("healthz: %d %s", status, body)
	}
	var ready api.Readiness
	status, body := s.get(t, "/readyz")
	if err := json.Unmarshal([]byte(body), &ready); err != nil || status != http.StatusOK || !ready.Ready || len(ready.Degraded) > 0 {
		t.Errorf("readyz: %d %s", status, body)
	}
	status, body = s.get(t, "/metrics")
	lines := strings.Split(body, "\n")
	for _, want := range []string{`sandyq_http_requests_total{code="200",operation="tokenize"} 1`, "sandyq_live 1"} {
		if status != http.StatusOK || !slices.Contains(lines, want) {
			t.Errorf("metrics: %d, without %s", status, want)
		}
	}
	if strings.Contains(body, "Сәрсенова") {
		t.Error("metrics hold a value")
	}
	if status, _ := s.get(t, "/v1/whoami"); status != http.StatusNotFound {
		t.Errorf("the operations address serves the API: %d", status)
	}
}

// TestDevToken: a token that does not work any more, or is gone, is replaced; what was readable by others is refused.
func TestDevToken(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	first := start(t, "serve", "--dev", "--home", home)
	c := first.client(t)
	tokens, err := c.ServiceTokens(t.Context(), 10, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RevokeServiceToken(t.Context(), tokens.Items[0].ID); err != nil {
		t.Fatal(err)
	}
	c.Close()
	first.stop(t)

	second := start(t, "serve", "--dev", "--home", home)
	if second.Token == "" || second.Token == first.Token {
		t.Error("a revoked token was not replaced")
	}
	if _, err := second.client(t).Whoami(t.Context()); err != nil {
		t.Errorf("the new token: %v", err)
	}
	second.stop(t)

	if err := os.Chmod(filepath.Join(home, "dev.token"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := sandyq(t, "serve", "--dev", "--home", home, "--listen=127.0.0.1:0", "--ops=127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "dev.token has mode 0644") {
		t.Errorf("a token that others may read: %d %s", code, stderr)
	}
}

// TestOneServerAStore: the home of a running server is refused to another.
func TestOneServerAStore(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	start(t, "serve", "--dev", "--home", home)
	for _, command := range []string{"init", "promote", "doctor"} {
		code, stdout, stderr := sandyq(t, command, "--home", home)
		said := stdout + stderr
		if code != 1 || !strings.Contains(said, "another process has this store open") || !strings.Contains(said, "stop the server that runs on it") {
			t.Errorf("%s beside a server: %d %s%s", command, code, stdout, stderr)
		}
	}
}
