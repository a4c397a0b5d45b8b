package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/deploy/sample"
	"github.com/sandyq/sandyq/vault/api"
)

func TestDocumentsThroughTheCommands(t *testing.T) {
	_, crm, _ := desks(t)
	made := answer[api.TokenizeResponse](t, crm, exitDone, people, "tokenize", "--purpose", "registration").Results[0]
	specimens, err := sample.Specimens()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "scan")
	if err := os.WriteFile(file, specimens[0].Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(specimens[0].Bytes)
	put := answer[api.Document](t, crm, exitDone, "", "document", "put", made.Subject, file,
		"--kind", "identity_card", "--side", "front", "--capture", "photographed", "--purpose", "registration")
	if put.SHA256 != hex.EncodeToString(sum[:]) || put.MediaType != specimens[0].MediaType {
		t.Errorf("%+v", put)
	}

	out := filepath.Join(dir, "out")
	get := func(args ...string) ran {
		return crm.run(t, put.Token+"\n", append([]string{"document", "get", out, "--purpose", "service", "--reason", "test"}, args...)...)
	}
	holds := func(want []byte) {
		t.Helper()
		got, err := os.ReadFile(out)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file has %d bytes, want %d: %v", len(got), len(want), err)
		}
	}
	if r := get(); r.code != exitDone || !strings.Contains(r.out, put.SHA256) {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(out, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := get(); r.code != exitFailed || !strings.Contains(r.errors, "--force") {
		t.Errorf("%+v", r)
	}
	holds([]byte("mine"))
	if r := get("--force"); r.code != exitDone {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if r := get("--force", "--part", "2"); r.code != exitFailed || !strings.Contains(r.errors, "not_found") {
		t.Errorf("%+v", r)
	}
	holds(specimens[0].Bytes)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	text := filepath.Join(dir, "scan")
	if err := os.WriteFile(text, []byte("not a scan"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := crm.run(t, "", "document", "put", made.Subject, text, "--kind", "other", "--capture", "digital", "--purpose", "registration")
	if r.code != exitFailed || !strings.Contains(r.errors, "unsupported") {
		t.Errorf("%+v", r)
	}
}

func TestACutDocumentLeavesNoFile(t *testing.T) {
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = w.Write([]byte(`{"content": "/v1/content/h", "sha256": "00", "size": 5}`))
			return
		}
		_, _ = w.Write([]byte("other bytes"))
	}))
	defer cut.Close()
	dir := t.TempDir()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("sst_x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := desk{&server{serving: serving{API: cut.URL}}, tokenFile}
	r := d.run(t, "sdq_x", "document", "get", filepath.Join(dir, "out"), "--purpose", "service", "--reason", "test")
	left, err := os.ReadDir(dir)
	if r.code != exitFailed || err != nil || len(left) != 0 {
		t.Errorf("%+v; left: %v, %v", r, left, err)
	}
}
