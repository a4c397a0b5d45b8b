package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
)

// versions makes n versions of the signing key and returns the file of each.
func versions(t *testing.T, dir string, k *local.Keyring, n int) []string {
	t.Helper()
	for want := 2; want <= n; want++ {
		if version, err := k.RotateSigning(t.Context()); err != nil || version != want {
			t.Fatalf("rotate: version %d, want %d (%v)", version, want, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "signing", "*"))
	if err != nil || len(files) != n {
		t.Fatalf("%d files of signing keys, want %d (%v)", len(files), n, err)
	}
	return files
}

// TestSigningDamage: a version that does not open, or is gone, is never made anew in silence.
func TestSigningDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, files []string){
		"bit flip": func(t *testing.T, files []string) { flip(t, files[1]) },
		"cut":      func(t *testing.T, files []string) { truncate(t, files[1], 60) },
		"empty":    func(t *testing.T, files []string) { truncate(t, files[1], 0) },
		"swapped": func(t *testing.T, files []string) {
			rename(t, files[1], files[1]+".aside")
			rename(t, files[2], files[1])
			rename(t, files[1]+".aside", files[2])
		},
		"the second is gone": func(t *testing.T, files []string) { rename(t, files[1], filepath.Join(t.TempDir(), "key")) },
		"the first is gone":  func(t *testing.T, files []string) { rename(t, files[0], filepath.Join(t.TempDir(), "key")) },
		"another file":       func(t *testing.T, files []string) { rename(t, files[2], files[2]+"~") },
	} {
		t.Run(name, func(t *testing.T) {
			dir, unlock := setup(t)
			k := open(t, dir, unlock)
			damage(t, versions(t, dir, k, 3))
			if _, err := k.PublicKeys(t.Context()); !errors.Is(err, kms.ErrCorrupt) {
				t.Errorf("public keys: %v, want ErrCorrupt", err)
			}
			if _, err := k.SignAs(t.Context(), 2, []byte("message")); !errors.Is(err, kms.ErrCorrupt) {
				t.Errorf("sign: %v, want ErrCorrupt", err)
			}
		})
	}
}

func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, file string, size int64) {
	t.Helper()
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
}

// TestSigningInterrupted finds the folder that a first need made, before the key was written.
func TestSigningInterrupted(t *testing.T) {
	dir, unlock := setup(t)
	if err := os.Mkdir(filepath.Join(dir, "signing"), 0o700); err != nil {
		t.Fatal(err)
	}
	if public, err := open(t, dir, unlock).PublicKeys(t.Context()); err != nil || len(public) != 1 {
		t.Errorf("%d public keys, want 1 (%v)", len(public), err)
	}
}
