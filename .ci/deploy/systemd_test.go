package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exposure is what systemd-analyze may find at most, in tenths: 0 is no way out of the unit, 100 none closed.
const exposure = "20"

// TestSystemd: systemd understands the unit, alone and with the drop-in of a node, without a word of warning, and finds it closed.
func TestSystemd(t *testing.T) {
	unit := string(readFile(t, "systemd/sandyq.service"))
	const program = "/usr/local/bin/sandyq "
	if !strings.Contains(unit, "ExecStart="+program+"serve ") {
		t.Fatal("the unit starts another program")
	}
	unit = strings.Replace(unit, "ExecStart="+program, "ExecStart=/bin/true ", 1) // verify looks for it
	for name, content := range map[string]string{"alone": unit, "node": unit + string(readFile(t, "systemd/node.conf"))} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sandyq.service")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := analyze(t, "verify", file); len(out) > 0 {
				t.Errorf("systemd-analyze verify: %s", out)
			}
			analyze(t, "security", "--offline=true", "--threshold="+exposure, file)
		})
	}
}

// TestSystemdFindsFaults: the two checks would tell.
func TestSystemdFindsFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sandyq.service")
	if err := os.WriteFile(file, []byte("[Service]\nExecStart=/bin/true\nProtectSytem=strict\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := analyze(t, "verify", file); !strings.Contains(string(out), "ProtectSytem") {
		t.Errorf("an unknown key passes: %s", out)
	}
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, file).CombinedOutput(); err == nil {
		t.Errorf("an open unit passes: %s", out)
	}
}

// TestSystemdFiles: every credential that the node's configuration names is given to it, and each one given is named.
func TestSystemdFiles(t *testing.T) {
	given := map[string]bool{}
	for line := range strings.Lines(string(readFile(t, "systemd/node.conf"))) {
		if name, ok := strings.CutPrefix(line, "LoadCredential="); ok {
			name, _, _ = strings.Cut(name, ":")
			given["/run/credentials/sandyq.service/"+name] = true
		}
	}
	used := 0
	for key, file := range named(t, readTree(t, "systemd/node.yaml")) {
		if !strings.HasPrefix(file, "/run/credentials/") {
			continue
		}
		used++
		if !given[file] {
			t.Errorf("%s is %s, which is not given", key, file)
		}
	}
	if used != len(given) {
		t.Errorf("%d credentials are given and %d named", len(given), used)
	}
}

// analyze runs systemd-analyze, which must succeed, and gives what it says.
func analyze(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze %s: %v: %s", args[0], err, out)
	}
	return out
}

// readFile reads a file of deploy/.
func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployed, path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
