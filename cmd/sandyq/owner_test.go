package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnotherUsersHome: whoever is not a home's user, root too, leaves nothing in it.
func TestAnotherUsersHome(t *testing.T) {
	if os.Geteuid() != root {
		t.Skip("only root can give a file away")
	}
	const other = 4242
	home := filepath.Join(t.TempDir(), "home")
	if code, _, stderr := sandyq(t, "init", "--home", home); code != 0 {
		t.Fatal(stderr)
	}
	give := func(uid int, paths ...string) {
		t.Helper()
		for _, path := range paths {
			if err := os.Chown(path, uid, uid); err != nil {
				t.Fatal(err)
			}
		}
	}
	everything := tree(t, home)
	give(other, everything...)
	for _, command := range [][]string{{"doctor"}, {"promote", "--yes"}, {"init", "--new-token"}, {"serve"}, {"serve", "--dev"}} {
		code, stdout, stderr := sandyq(t, append(command, "--home", home)...)
		if code != 1 || !strings.Contains(stdout+stderr, "sudo -u '#4242' sandyq") {
			t.Errorf("%s as root: %d %s%s", command[0], code, stdout, stderr)
		}
	}
	for _, path := range tree(t, home) {
		if info, err := os.Stat(path); err != nil || ownerOf(info) != other {
			t.Errorf("%s is root's now (%v)", path, err)
		}
	}
	give(root, everything...)

	for _, name := range []string{"", "store", "ledger", "keyring", "keyring/local", "keyring/root.key", "keyring/local/keyring"} {
		give(other, filepath.Join(home, name))
		if code, stdout, _ := sandyq(t, "doctor", "--home", home); code != 1 || !strings.Contains(stdout, "belongs to the user") {
			t.Errorf("with another's %q: %d %s", name, code, stdout)
		}
		give(root, filepath.Join(home, name))
	}
	// A store whose files were given away and back is a copy, for all that it can tell.
	for _, command := range [][]string{{"promote", "--yes"}, {"doctor"}} {
		if code, stdout, stderr := sandyq(t, append(command, "--home", home)...); code != 0 {
			t.Errorf("%s after it was put right: %d %s%s", command[0], code, stdout, stderr)
		}
	}
}

// tree lists what is in dir, and dir.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
