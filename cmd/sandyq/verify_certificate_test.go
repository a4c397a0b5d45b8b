package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/audit/certificate"
)

const vectors = "../../vault/audit/certificate/testdata"

// TestVerifyCertificate: the published certificates verify with the published key, by itself or in a file, and what is
// changed does not, in words that say what is wrong.
func TestVerifyCertificate(t *testing.T) {
	keyFile := filepath.Join(vectors, "key")
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(raw))
	for _, name := range []string{"erasure.json", "succession.json", "removal.json"} {
		for _, held := range []string{key, keyFile} {
			code, out, _ := sandyq(t, "verify", "certificate", filepath.Join(vectors, name), "--key", held)
			if code != exitDone || !strings.Contains(out, "is verified") || !strings.Contains(out, "Proved:") || !strings.Contains(out, "Only stated") {
				t.Errorf("%s: %d %s", name, code, out)
			}
		}
	}
	code, out, _ := sandyq(t, "verify", "certificate", filepath.Join(vectors, "removal.json"), "--key", key, "--json")
	var found checkedCertificate
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != exitDone || !found.Verified || found.Removal == nil ||
		found.Content.Erasure != "era_00000000000000000000000081" || len(found.Proved) == 0 || len(found.Stated) == 0 {
		t.Errorf("%d %v %s", code, err, out)
	}

	good, other := readVector(t, "erasure.json"), readVector(t, "succession.json")
	edited, mixed, cut := *good, *good, *good
	edited.Certificate = strings.Replace(good.Certificate, `"document":2`, `"document":1`, 1)
	mixed.KeyDestroyed, mixed.Erased = other.KeyDestroyed, other.Erased
	lines := strings.SplitAfter(good.Erased.Proof, "\n")
	cut.Erased.Proof = strings.Join(append(lines[:2:2], lines[3:]...), "")
	anothers := key[:len(key)-1] + "A"
	dir := t.TempDir()
	for name, c := range map[string]struct {
		document *certificate.Document
		key      string
		code     int
		says     string
	}{
		"edited":               {&edited, key, exitFailed, "bad signature of a known key"},
		"another's entries":    {&mixed, key, exitFailed, "the proof of the entry erasure.key_destroyed"},
		"a proof cut short":    {&cut, key, exitFailed, "the proof of the entry erasure.erased"},
		"a key that is none":   {good, anothers, exitUsage, "--key is no key of a log"},
		"a key of another":     {good, strangersKey, exitFailed, "no known key signed"},
		"a key file not there": {good, filepath.Join(dir, "none"), exitUsage, "--key is no key of a log"},
	} {
		b, err := c.document.Encode()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "certificate.json")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errors := sandyq(t, "verify", "certificate", path, "--key", c.key); code != c.code || out != "" || !strings.Contains(errors, c.says) {
			t.Errorf("%s: %d %s%s", name, code, out, errors)
		}
	}
	path := filepath.Join(dir, "short.json")
	whole, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errors := sandyq(t, "verify", "certificate", path, "--key", key); code != exitFailed || !strings.Contains(errors, "cut short") {
		t.Errorf("a short file: %d %s", code, errors)
	}
}

// strangersKey is of the same name, and nobody's who signed anything here.
const strangersKey = "vault.example.kz/main+40b2691b+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"

func readVector(t *testing.T, name string) *certificate.Document {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	d, err := certificate.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
