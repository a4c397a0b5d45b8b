package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// TestTheLogOverAServer: what the server logs is exported, verifies offline under the key that is held, before and after the
// key is rotated, and goes on from an earlier checkpoint; a folder that was changed does not. The anchor beside the ledger and its copy
// elsewhere are checkpoints of the same log.
func TestTheLogOverAServer(t *testing.T) {
	dir := t.TempDir()
	home, elsewhere, log := filepath.Join(dir, "home"), filepath.Join(dir, "elsewhere"), filepath.Join(dir, "log")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "sandyq.yaml")
	if err := os.WriteFile(config, []byte("home: home\naudit: {anchor: {dir: elsewhere}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "serve", "--dev", "--config", config)
	admin := desk{s, s.TokenFile}
	auditor := admin.admit(t, "watch", "auditor")

	var first verifiedLog
	deadline := time.Now().Add(30 * time.Second)
	for first.Entries == 0 { // it is signed within a second or two
		if r := auditor.run(t, "", "audit", "export", "--to", log); r.code == exitDone {
			first = answer[verifiedLog](t, auditor, exitDone, "", "audit", "export", "--to", log)
		} else if time.Now().After(deadline) {
			t.Fatalf("%+v", r)
		}
		time.Sleep(100 * time.Millisecond)
	}
	held := first.Keys[0]
	before := filepath.Join(dir, "before")
	copyFile(t, filepath.Join(log, "checkpoint"), before)

	rotated := answer[api.LogKeys](t, admin, exitDone, "", "audit", "rotate-key")
	if len(rotated.Keys) != 2 || rotated.Keys[1] != held || len(rotated.Successions) != 1 {
		t.Fatalf("%+v", rotated)
	}
	if r := auditor.run(t, "", "audit", "rotate-key"); r.code == exitDone {
		t.Errorf("an auditor rotates the key: %+v", r)
	}
	second := answer[verifiedLog](t, auditor, exitDone, "", "audit", "export", "--to", log)
	if second.Entries <= first.Entries || !slices.Equal(second.Keys, []string{held, rotated.Keys[0]}) {
		t.Errorf("%+v after %+v", second, first)
	}
	for _, args := range [][]string{{"--key", held, "--since", before}, {"--key", rotated.Keys[0]}} {
		if code, out, errs := sandyq(t, append([]string{"verify", "log", log}, args...)...); code != exitDone || !strings.Contains(out, "verified") {
			t.Errorf("%q: %d %s%s", args, code, out, errs)
		}
	}
	if code, out, _ := sandyq(t, "verify", "log", log, "--key", strangersKey); code != exitFailed {
		t.Errorf("verified with a stranger's key: %s", out)
	}

	key, err := checkpoint.ParseKey(rotated.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, anchor := range []string{filepath.Join(home, "ledger", "main.checkpoint"), filepath.Join(elsewhere, "main.checkpoint")} {
		for {
			note, err := os.ReadFile(anchor)
			var tree checkpoint.Tree
			if err == nil {
				tree, err = checkpoint.OpenTree(note, key)
			}
			if err == nil && tree.Origin == second.Origin {
				break
			}
			if time.Now().After(deadline.Add(30 * time.Second)) {
				t.Fatalf("%s: %v", anchor, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}

	entries, err := filepath.Glob(filepath.Join(log, "tile", "entries", "000*"))
	if err != nil || len(entries) == 0 {
		t.Fatalf("%v %v", entries, err)
	}
	for _, path := range entries {
		tamper(t, path)
	}
	if code, out, _ := sandyq(t, "verify", "log", log, "--key", held); code != exitFailed {
		t.Errorf("an entry was changed, and it is verified: %s", out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tamper changes an entry in a file, or in each file of a folder.
func tamper(t *testing.T, path string) {
	t.Helper()
	err := filepath.Walk(path, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.Replace(b, []byte(`"decision":"allow"`), []byte(`"decision":"allo_"`), 1), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
