package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
)

// TestHashiCorpVault: set-up, doctor, serving, an outage and a start during one, against a real server.
func TestHashiCorpVault(t *testing.T) {
	vault := vaultserver.Start(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "sandyq.yaml")
	text := fmt.Sprintf(`
home: home
keys:
  provider: vault
  vault:
    address: %s
    auth: {method: approle, role_id_file: credentials/serve.role_id, secret_id_file: credentials/serve.secret_id}
    erase_auth: {method: approle, role_id_file: credentials/erase.role_id, secret_id_file: credentials/erase.secret_id}
`, vault.Address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := sandyq(t, "keys", "setup", "--config", file); code != 1 || !strings.Contains(stderr, "VAULT_ADDR") {
		t.Errorf("set-up without VAULT_ADDR: %d %s", code, stderr)
	}
	for _, said := range []string{"made           mount sandyq ", "there already  mount sandyq "} {
		setup := exec.Command(program, "keys", "setup", "--config", file)
		setup.Env = append(os.Environ(), "VAULT_ADDR="+vault.Address, "VAULT_TOKEN="+vault.RootToken)
		out, err := setup.CombinedOutput()
		if err != nil || !strings.Contains(string(out), said) || !strings.Contains(string(out), "erase_auth: {method: approle") {
			t.Fatalf("set-up: %v\n%s", err, out)
		}
		if strings.Contains(string(out), vault.RootToken) {
			t.Error("the set-up shows the token")
		}
	}
	if got := mode(t, filepath.Join(dir, "credentials", "serve.secret_id")); got != 0o600 {
		t.Errorf("the credentials have mode %#o", got)
	}
	if code, _, stderr := sandyq(t, "init", "--config", file); code != 0 {
		t.Fatalf("init: %s", stderr)
	}
	if code, stdout, _ := sandyq(t, "doctor", "--config", file); code != 0 || !strings.Contains(stdout, "the provider vault answers") {
		t.Errorf("doctor: %d %s", code, stdout)
	}

	s := start(t, "serve", "--dev", "--config", file)
	token, err := register(t.Context(), s.client(t), "Сәрсенова")
	if err != nil {
		t.Fatal(err)
	}
	vault.Seal(t)
	waitUntil(t, func() bool { return degraded(t, s) })
	if code := s.stop(t); code != 0 {
		t.Errorf("stopped in an outage: %d %s", code, s.stderr)
	}
	if code, stdout, _ := sandyq(t, "doctor", "--config", file); code != 1 || !strings.Contains(stdout, "wrong  keys ") {
		t.Errorf("doctor in an outage: %d %s", code, stdout)
	}

	s = start(t, "serve", "--dev", "--config", file)
	if !degraded(t, s) {
		t.Error("started in an outage, it does not say so")
	}
	vault.Unseal(t)
	waitUntil(t, func() bool {
		got, err := recall(t.Context(), s.client(t), token)
		return err == nil && got == "Сәрсенова"
	})
}

// TestKeysSetupChecks: a dry run on a fresh server, a set-up, a check that finds nothing, faults, and a set-up that mends.
func TestKeysSetupChecks(t *testing.T) {
	vault := vaultserver.Start(t)
	dir := t.TempDir()
	setup := func(args ...string) (code int, stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"keys", "setup", "--credentials", filepath.Join(dir, "credentials")}, args...)...)
		cmd.Env = append(os.Environ(), "VAULT_ADDR="+vault.Address, "VAULT_TOKEN="+vault.RootToken)
		var out, complaint strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &complaint
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+complaint.String(), vault.RootToken) {
			t.Error("the token is shown")
		}
		return cmd.ProcessState.ExitCode(), out.String(), complaint.String()
	}
	code, stdout, stderr := setup("--dry-run")
	if code != 0 || !strings.Contains(stdout, "would make     mount sandyq (kv version 1)\n               + kv version 1\n") {
		t.Errorf("dry run: %d %s %s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dry run made the credentials' folder (%v)", err)
	}
	if code, stdout, _ := setup("--check"); code != 1 || !strings.Contains(stdout, "wrong    mount.missing      sys/mounts/sandyq\n") {
		t.Errorf("check of an empty server: %d %s", code, stdout)
	}
	if code, _, stderr := setup(); code != 0 {
		t.Fatalf("set-up: %d %s", code, stderr)
	}
	if code, stdout, stderr := setup("--check"); code != 0 || !strings.Contains(stdout, "warning  audit.none         sys/audit\n") {
		t.Errorf("check: %d %s %s", code, stdout, stderr)
	}
	vault.Request(t, "POST", "sandyq-transit/config/keys", map[string]any{"disable_upsert": false})
	code, stdout, stderr = setup("--check", "--json")
	var x examination
	if err := json.Unmarshal([]byte(stdout), &x); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	upsert := func(f keysFinding) bool {
		return f.Path == "sandyq-transit/config/keys" && f.Rule == "transit.upsert" && f.Result == wrong && f.Found != ""
	}
	if code != 1 || x.Wrong != 1 || x.Warnings != 1 || !slices.ContainsFunc(x.Findings, upsert) || !strings.Contains(stderr, "wrong: 1") {
		t.Errorf("check with upsert on: %d %+v %s", code, x, stderr)
	}
	if code, stdout, _ := setup("--dry-run"); code != 0 || !strings.Contains(stdout, "would change   transit makes no key") ||
		!strings.Contains(stdout, "               - disable_upsert: false\n               + disable_upsert: true\n") {
		t.Errorf("dry run with upsert on: %d %s", code, stdout)
	}
	if code, stdout, _ := setup(); code != 0 || !strings.Contains(stdout, "changed        transit makes no key") {
		t.Errorf("set-up that mends: %d %s", code, stdout)
	}
	if code, _, _ := setup("--check"); code != 0 {
		t.Errorf("check after that: %d", code)
	}
	if code, stdout, _ := setup("--check", "--sentinel", strings.Repeat("00", 31)+"01"); code != 1 || !strings.Contains(stdout, "sentinel.other") {
		t.Errorf("another sentinel: %d %s", code, stdout)
	}
	for _, args := range [][]string{{"--check", "--dry-run"}, {"--sentinel", "00"}, {"--check", "--sentinel", "00"}} {
		if code, _, _ := setup(args...); code != 2 {
			t.Errorf("%q: %d, want 2", args, code)
		}
	}
	vault.Seal(t)
	if code, stdout, stderr := setup("--check"); code != 1 || stdout != "" || !strings.Contains(stderr, "503") {
		t.Errorf("check of a sealed server: %d %s", code, stderr)
	}
}

// degraded reports that the server is ready but for the keys.
func degraded(t *testing.T, s *server) bool {
	t.Helper()
	status, body := s.get(t, "/readyz")
	return status == http.StatusOK && body == `{"ready":true,"degraded":["keys"]}`
}
