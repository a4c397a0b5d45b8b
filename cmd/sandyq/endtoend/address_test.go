package endtoend

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestClientCommandsFindTheServer: told the home, they need no address and no token.
func TestClientCommandsFindTheServer(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := serve(t, home)
	path, err := binary()
	check(t, err)
	out, err := exec.Command(path, "whoami", "--json", "--home", home).Output()
	check(t, err)
	if !strings.Contains(string(out), "administrator") {
		t.Errorf("whoami answers %s", out)
	}
	s.stop(t)
	if _, err := os.Stat(filepath.Join(home, "address")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address of a server that has stopped is still there: %v", err)
	}
}
