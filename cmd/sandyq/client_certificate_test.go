package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/archive"
	"github.com/sandyq/sandyq/vault/audit/independent"
)

// TestCertificateOfAnErasure: over a real server, the certificate of an erasure verifies with the log's key alone, by our
// code and by other people's, is the same whenever it is read, and is set on a page that carries it.
func TestCertificateOfAnErasure(t *testing.T) {
	_, crm, staff := desks(t)
	answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration")
	subject := answer[api.SearchResponse](t, staff, exitDone, iin, "search", "--field", "iin", "--purpose", "service", "--reason", "test").Results[0].Subject
	erased := answer[api.Erasure](t, staff, exitDone, "", "erase", subject, "--ground", "request", "--reason", "test", "--wait")

	dir := t.TempDir()
	file := filepath.Join(dir, "certificate.json")
	if r := staff.run(t, "", "certificate", erased.Erasure, "--out", file); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r := staff.run(t, "", "certificate", erased.Erasure); r.out != string(document) {
		t.Errorf("another certificate the second time: %s", r.out)
	}
	if r := staff.run(t, "", "certificate", erased.Erasure, "--out", file); r.code != exitFailed {
		t.Errorf("a file is replaced: %+v", r)
	}
	log := filepath.Join(dir, "log")
	if r := staff.run(t, "", "audit", "export", "--to", log); r.code != exitDone {
		t.Fatalf("%+v", r)
	}
	held, err := archive.Held(log)
	if err != nil {
		t.Fatal(err)
	}
	key := held.String()
	code, out, errors := sandyq(t, "verify", "certificate", file, "--key", key)
	if code != exitDone || !strings.Contains(out, erased.Erasure) || !strings.Contains(out, "1 key(s)") {
		t.Errorf("%d %s%s", code, out, errors)
	}
	if strings.Contains(string(document), iin) {
		t.Error("the certificate holds a value")
	}
	if code, out, _ := sandyq(t, "verify", "certificate", file, "--key", strangersKey); code != exitFailed {
		t.Errorf("verified with a stranger's key: %s", out)
	}
	others := independent.Program(t)
	runs(t, others, "certificate", key, file)
	before := filepath.Join(dir, "before")
	head, err := os.ReadFile(filepath.Join(log, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := staff.run(t, "", "audit", "export", "--to", log); r.code != exitDone { // with what was done since
		t.Fatalf("%+v", r)
	}
	runs(t, others, "log", key, log, before)

	for _, lang := range []string{"kk", "ru", "en"} {
		page := filepath.Join(dir, lang+".pdf")
		if r := staff.run(t, "", "certificate", erased.Erasure, "--format", "pdf", "--lang", lang, "--out", page); r.code != exitDone {
			t.Fatalf("%+v", r)
		}
		if b, err := os.ReadFile(page); err != nil || !bytes.HasPrefix(b, []byte("%PDF-")) {
			t.Errorf("%s: %v", lang, err)
		}
	}
	if r := staff.run(t, "", "certificate", "era_00000000000000000000000000"); r.code != exitFailed || !strings.Contains(r.errors, "no such erasure") {
		t.Errorf("%+v", r)
	}
}

// runs runs a program that must succeed.
func runs(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", args[0], err, out)
	}
}
