package independent_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/audit/independent"
)

const vectors = "../certificate/testdata"

// TestCertificates: the published certificates verify with other people's code, and with none that was changed.
func TestCertificates(t *testing.T) {
	verify := verifiers(t)
	raw, err := os.ReadFile(filepath.Join(vectors, "key"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(raw))
	stranger := "vault.example.kz/main+40b2691b+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
	path := filepath.Join(t.TempDir(), "certificate.json")
	for _, name := range []string{"erasure.json", "succession.json", "removal.json"} {
		good, err := os.ReadFile(filepath.Join(vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		for by, program := range verify {
			if out, err := program(key, filepath.Join(vectors, name)); err != nil || !strings.Contains(out, "verified era_") {
				t.Errorf("%s, %s: %v\n%s", by, name, err, out)
			}
			if out, err := program(stranger, filepath.Join(vectors, name)); err == nil {
				t.Errorf("%s, %s: verified with a stranger's key\n%s", by, name, out)
			}
			for was, becomes := range map[string]string{
				`\"document\":2`: `\"document\":3`, `erasure.erased`: `erasure.show`, `"proof":"c2sp.org/tlog-proof@v1\nindex 5`: `"proof":"c2sp.org/tlog-proof@v1\nindex 4`,
				"person_asked\\\",\\\"kind": "person_asks\\\",\\\"kind",
			} {
				if !bytes.Contains(good, []byte(was)) {
					t.Fatalf("%s has no %s", name, was)
				}
				if err := os.WriteFile(path, bytes.Replace(good, []byte(was), []byte(becomes), 1), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := program(key, path); err == nil {
					t.Errorf("%s, %s: verified with %s\n%s", by, name, becomes, out)
				}
			}
		}
	}
}

// verifiers are the programs that verify a certificate with a key: other people's code, and that of the page.
func verifiers(t *testing.T) map[string]func(key, path string) (string, error) {
	t.Helper()
	program, page := independent.Program(t), filepath.Join(t.TempDir(), "verify.py")
	if err := os.WriteFile(page, programOfThePage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := func(args ...string) (string, error) {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		return string(out), err
	}
	all := map[string]func(key, path string) (string, error){
		"merkle and formats": func(key, path string) (string, error) { return ran(program, "certificate", key, path) },
	}
	for _, needed := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(needed); err != nil {
			if os.Getenv("SANDYQ_REQUIRE_SERVERS") != "" {
				t.Fatal(err)
			}
			t.Logf("the program of docs/verify.md is not run: %v", err)
			return all
		}
	}
	all["the page's program"] = func(key, path string) (string, error) { return ran("python3", page, key, path) }
	return all
}

var pythonBlock = regexp.MustCompile("(?s)\n```python\n(.*?)```\n")

// programOfThePage is the program that docs/verify.md shows.
func programOfThePage(t *testing.T) []byte {
	t.Helper()
	page, err := os.ReadFile("../../../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	found := pythonBlock.FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/verify.md shows no program")
	}
	return found[1]
}
