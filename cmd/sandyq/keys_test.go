package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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

// degraded reports that the server is ready but for the keys.
func degraded(t *testing.T, s *server) bool {
	t.Helper()
	status, body := s.get(t, "/readyz")
	return status == http.StatusOK && body == `{"ready":true,"degraded":["keys"]}`
}
