package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
)

// TestSnapshotsOfHashiCorpVault takes one of a real server through the commands, opens it, and lets its day come.
func TestSnapshotsOfHashiCorpVault(t *testing.T) {
	vault := vaultserver.Start(t, vaultserver.Raft())
	dir := t.TempDir()
	outer, file := filepath.Join(dir, "outer"), filepath.Join(dir, "snapshots", "vault.snapshot")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	take := func(more ...string) (string, error) {
		c := exec.Command(program, append([]string{"keys", "snapshot", "take", "--json"}, more...)...)
		c.Env = append(os.Environ(), "VAULT_ADDR="+vault.Address, "VAULT_TOKEN="+vault.RootToken)
		out, err := c.CombinedOutput()
		if strings.Contains(string(out), vault.RootToken) {
			t.Error("the command shows the token")
		}
		return string(out), err
	}
	if out, err := take("--to", file, "--outer", filepath.Dir(file)); err == nil || !strings.Contains(out, "lie in each other") {
		t.Errorf("with the outer keys beside the snapshot: %v %s", err, out)
	}
	if out, err := take("--to", file, "--outer", outer, "--days", "0"); err == nil || !strings.Contains(out, "--days") {
		t.Errorf("for no day: %v %s", err, out)
	}
	out, err := take("--to", file, "--outer", outer, "--days", "7")
	if err != nil {
		t.Fatalf("take: %v %s", err, out)
	}
	var taken snapshotTaken
	if err := json.Unmarshal([]byte(out), &taken); err != nil {
		t.Fatal(err)
	}
	expires, err := time.Parse(time.DateOnly, taken.Key.Expires)
	if left := time.Until(expires); err != nil || left > 7*24*time.Hour || left < 5*24*time.Hour {
		t.Errorf("it ends in %v, want at most 7 days (%v)", left, err)
	}
	if got := mode(t, outer); got != 0o700 {
		t.Errorf("the folder of outer keys has mode %#o", got)
	}
	if code, stdout, _ := sandyq(t, "keys", "snapshot", "list", "--outer", outer); code != 0 || !strings.Contains(stdout, taken.Key.ID+"  until "+taken.Key.Expires) {
		t.Errorf("list: %d %s", code, stdout)
	}
	opened := filepath.Join(dir, "opened")
	if code, _, stderr := sandyq(t, "keys", "snapshot", "open", file, "--outer", outer, "--to", opened); code != 0 {
		t.Fatalf("open: %d %s", code, stderr)
	}
	content, err := os.ReadFile(opened)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := vault.Request(t, http.MethodPost, "sys/storage/raft/snapshot", content); status/100 != 2 {
		t.Errorf("HashiCorp Vault does not restore it: %d %s", status, answer)
	}

	// Its day has come: yesterday.
	old, err := filepath.Glob(filepath.Join(outer, "*.outer"))
	if err != nil || len(old) != 1 {
		t.Fatalf("outer keys: %v (%v)", old, err)
	}
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	if err := os.Rename(old[0], strings.Replace(old[0], taken.Key.Expires, yesterday, 1)); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		code, _, stderr := sandyq(t, "keys", "snapshot", "open", file, "--outer", outer, "--to", opened+".again")
		if code != 1 || !strings.Contains(stderr, "its day has come") {
			t.Errorf("open after its day: %d %s", code, stderr)
		}
	}
	refused()
	if code, stdout, _ := sandyq(t, "keys", "snapshot", "list", "--outer", outer); code != 0 || !strings.Contains(stdout, "due since "+yesterday) {
		t.Errorf("list: %d %s", code, stdout)
	}
	if code, stdout, stderr := sandyq(t, "keys", "snapshot", "expire", "--outer", outer); code != 0 || !strings.Contains(stdout, taken.Key.ID+"  destroyed") {
		t.Errorf("expire: %d %s %s", code, stdout, stderr)
	}
	if left, err := os.ReadDir(outer); err != nil || len(left) != 0 {
		t.Errorf("expire left %d files (%v)", len(left), err)
	}
	refused()
}

// TestSnapshotsLieApart: the outer keys may lie in nothing that the configuration names.
func TestSnapshotsLieApart(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(filepath.Join(home, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sandyq.yaml")
	if err := os.WriteFile(file, []byte("home: home\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, outer := range []string{home, filepath.Join(home, "outer"), filepath.Join(home, "store", "outer")} {
		c := exec.Command(program, "keys", "snapshot", "take", "--config", file, "--to", "vault.snapshot", "--outer", outer)
		c.Dir = t.TempDir()
		c.Env = append(os.Environ(), "VAULT_ADDR=http://127.0.0.1:1", "VAULT_TOKEN=none")
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "lie in each other") {
			t.Errorf("outer keys in %s: %v %s", outer, err, out)
		}
		if _, err := os.Stat(filepath.Join(home, "outer")); err == nil {
			t.Error("a folder was made all the same")
		}
	}
}
