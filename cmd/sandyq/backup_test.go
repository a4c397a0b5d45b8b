package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
)

// keyless is a configuration of another home over the keys and the erasure ledger of one.
func keyless(t *testing.T, home, of string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sandyq.yaml")
	text := "home: " + home + "\nkeys: {local: {dir: " + filepath.Join(of, "keyring") + "}}\nledger: {path: " + filepath.Join(of, "ledger") + "}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBackupAndRestoreByTheCommands is the runbook of docs/backups.md, from the first key to the restored server.
func TestBackupAndRestoreByTheCommands(t *testing.T) {
	administrator, crm, _ := desks(t)
	home := filepath.Dir(administrator.tokenFile)
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	safe, identity := filepath.Join(t.TempDir(), "backups"), filepath.Join(t.TempDir(), "backup.key")
	code, recipient, _ := sandyq(t, "backup", "keygen", identity)
	recipient = strings.TrimSpace(recipient)
	if info, err := os.Stat(identity); code != exitDone || err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(recipient, "age1") {
		t.Fatalf("keygen: %d, %q, %v", code, recipient, err)
	}
	if code, _, _ := sandyq(t, "backup", "keygen", identity); code == exitDone {
		t.Fatal("keygen wrote over an identity")
	}

	first := answer[backedUp](t, administrator, exitDone, "", "backup", "--to", safe, "--recipient", recipient, "--verify", "--identity", identity)
	if first.Verified == nil || first.Verified.People != 1 || first.Verified.Faults != 0 || first.New == 0 {
		t.Errorf("%+v %+v", first, first.Verified)
	}
	if r := crm.run(t, "", "backup", "--to", safe, "--recipient", recipient); r.code == exitDone {
		t.Error("an application took a backup")
	}
	_, other, _ := sandyq(t, "backup", "keygen", identity+".other")
	r := administrator.run(t, "", "backup", "--to", safe, "--recipient", strings.TrimSpace(other))
	if r.code != exitFailed || !strings.Contains(r.errors, "other recipients") || !strings.Contains(r.errors, "hint: ") {
		t.Errorf("for others in the same repository: %+v", r)
	}

	// What is done after this backup is undone by restoring it.
	second := answer[backedUp](t, administrator, exitDone, "", "backup", "--to", safe, "--recipient", recipient)
	shown := answer[api.Index](t, administrator, exitDone, "", "index", "rotate")
	for began := time.Now(); shown.State != api.IndexReady && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		shown = answer[api.Index](t, administrator, exitDone, "", "index", "show")
	}
	if shown.Epoch != 2 || shown.State != api.IndexReady || shown.EntriesLeft != 0 {
		t.Errorf("%+v", shown)
	}
	later := answer[api.Subject](t, crm, exitDone, "client/2\n", "subject", "create", "--purpose", "registration", "--external-ref", "-")
	_, listed, _ := sandyq(t, "backup", "list", safe)
	if !strings.Contains(listed, first.ID) || strings.Index(listed, first.ID) > strings.Index(listed, second.ID) {
		t.Errorf("listed %s", listed)
	}
	if code, _, errors := sandyq(t, "backup", "check", safe, "--identity", identity, "--snapshot", first.ID); code != exitDone {
		t.Errorf("check: %d %s", code, errors)
	}
	if code, out, _ := sandyq(t, "backup", "prune", safe, "--keep", "1"); code != exitDone || !strings.Contains(out, "REMOVED") {
		t.Errorf("prune: %d %s", code, out)
	}
	if code, _, _ := sandyq(t, "backup", "check", safe, "--identity", identity, "--snapshot", first.ID); code == exitDone {
		t.Error("what was pruned is there")
	}
	if code := administrator.server.stop(t); code != exitDone {
		t.Fatalf("the server ended with %d", code)
	}

	again := filepath.Join(t.TempDir(), "restored")
	config := keyless(t, again, home)
	restore := []string{"restore", "--from", safe, "--config", config, "--identity"}
	if code, _, errors := sandyq(t, append(restore, identity+".other")...); code != exitFailed || !strings.Contains(errors, "not encrypted to") {
		t.Errorf("with another identity: %d %s", code, errors)
	}
	code, out, errs := sandyq(t, append(restore, identity)...)
	if code != exitDone {
		t.Fatalf("restore: %d %s", code, errs)
	}
	for _, said := range append([]string{second.ID, "It is a copy", "newest by the repository's own word", "do again what was done since"}, undone...) {
		if !strings.Contains(out, said) {
			t.Errorf("restore does not say %q: %s", said, out)
		}
	}
	if code, _, errs := sandyq(t, append(restore, identity)...); code != exitFailed || !strings.Contains(errs, "is not empty") {
		t.Errorf("over a store: %d %s", code, errs)
	}
	if code, out, _ := sandyq(t, "doctor", "--config", config); code != exitFailed || !strings.Contains(out, "this store is a copy") {
		t.Errorf("doctor: %d %s", code, out)
	}
	if code, _, errs := sandyq(t, "promote", "--config", config); code != exitFailed || !strings.Contains(errs, "--yes") {
		t.Errorf("promote without a yes: %d %s", code, errs)
	}
	if code, _, errs := sandyq(t, "promote", "--config", config, "--yes"); code != exitDone {
		t.Fatalf("promote: %d %s", code, errs)
	}

	live := start(t, "serve", "--dev", "--config", config)
	back := desk{live, crm.tokenFile}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) { // the index is rebuilt: it was rotated since
		if r := back.run(t, iin+"\n", "search", "--field", "iin", "--purpose", "service", "--reason", "test"); r.code == exitDone {
			break
		}
	}
	found := answer[api.SearchResponse](t, back, exitDone, iin+"\n", "search", "--field", "iin", "--purpose", "service", "--reason", "test")
	if len(found.Results) != 1 || found.Results[0].Subject != made.Subject {
		t.Errorf("%+v", found)
	}
	read := back.run(t, made.Tokens["family_name"].Items[0], "detokenize", "--purpose", "service", "--reason", "test")
	if read.code != exitDone || !strings.Contains(read.out, "Сәрсенова") {
		t.Errorf("%+v", read)
	}
	if r := back.run(t, "", "subject", "show", later.Subject); r.code == exitDone {
		t.Error("somebody registered after the backup is there")
	}
	if code := live.stop(t); code != exitDone {
		t.Errorf("the restored server ended with %d", code)
	}

	// In one step, of a named snapshot.
	third := filepath.Join(t.TempDir(), "third")
	code, out, errs = sandyq(t, "restore", "--from", safe, "--config", keyless(t, third, home), "--identity", identity, "--snapshot", second.ID, "--promote")
	if code != exitDone || !strings.Contains(out, "It is the live one now.") || strings.Contains(out, "own word") {
		t.Errorf("restore --promote: %d %s %s", code, out, errs)
	}
	if code, out, _ := sandyq(t, "doctor", "--config", config); code != exitFailed || !strings.Contains(out, "standing") {
		t.Errorf("what was live before: %d %s", code, out)
	}
}

// TestARestoreThatFellIsDoneAgain: what a killed restore left aside is in nobody's way.
func TestARestoreThatFellIsDoneAgain(t *testing.T) {
	administrator, crm, _ := desks(t)
	answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration")
	safe, identity := filepath.Join(t.TempDir(), "backups"), filepath.Join(t.TempDir(), "backup.key")
	_, recipient, _ := sandyq(t, "backup", "keygen", identity)
	made := answer[backedUp](t, administrator, exitDone, "", "backup", "--to", safe, "--recipient", strings.TrimSpace(recipient))
	home := filepath.Join(t.TempDir(), "home")
	for _, half := range []string{"store.restoring", "documents.restoring"} {
		if err := os.MkdirAll(filepath.Join(home, half), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, half, "MANIFEST"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"restore", "--from", safe, "--identity", identity, "--home", home}
	chunk, err := filepath.Glob(filepath.Join(safe, "chunks", "*", "*"))
	if err != nil || len(chunk) == 0 {
		t.Fatal(chunk, err)
	}
	whole, err := os.ReadFile(chunk[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(chunk[0], whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := sandyq(t, args...); code != exitFailed || !strings.Contains(errs, filepath.Base(chunk[0])) {
		t.Errorf("of a damaged backup: %d %s", code, errs)
	}
	for _, left := range []string{"store", "documents", "store.restoring", "documents.restoring"} {
		if _, err := os.Stat(filepath.Join(home, left)); err == nil {
			t.Errorf("%s is left of a restore that failed", left)
		}
	}
	if err := os.WriteFile(chunk[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		code, out, errs := sandyq(t, append(args, "--json")...)
		if code != exitDone || !strings.Contains(out, made.ID) || !strings.Contains(out, `"people":1`) {
			t.Errorf("%d %s %s", code, out, errs)
		}
	}
	again()

	// Killed between its two renames: the documents are in their place, and no store. That is no vault.
	store, documents := filepath.Join(home, "store"), filepath.Join(home, "documents")
	if err := os.WriteFile(filepath.Join(documents, "left"), []byte("of the one that fell"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(store, store+restoringSuffix); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := sandyq(t, "serve", "--home", home); code != exitFailed || !strings.Contains(errs, "never set up") {
		t.Errorf("half a vault is served: %d %s", code, errs)
	}
	again()
	for _, left := range []string{store + restoringSuffix, documents + restoringSuffix, filepath.Join(documents, "left")} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s is left", left)
		}
	}

	// Documents that are somebody's stay, whatever is aside.
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	for _, aside := range []string{store + restoringSuffix, documents + restoringSuffix} {
		if err := os.MkdirAll(aside, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(aside, "x"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(documents, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := sandyq(t, args...); code != exitFailed || !strings.Contains(errs, "is not empty") {
		t.Errorf("over documents: %d %s", code, errs)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}
