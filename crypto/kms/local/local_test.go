package local_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/crypto/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyFile makes a key file in a folder of the test.
func keyFile(t *testing.T) local.Unlock {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.key")
	if err := local.NewKeyFile(path); err != nil {
		t.Fatal(err)
	}
	return local.KeyFile(path)
}

// setup makes a keyring and returns its directory and what unlocks it.
func setup(t *testing.T) (string, local.Unlock) {
	t.Helper()
	dir, unlock := filepath.Join(t.TempDir(), "keys"), keyFile(t)
	k, err := local.Create(dir, unlock)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, unlock
}

func open(t *testing.T, dir string, unlock local.Unlock) *local.Keyring {
	t.Helper()
	k, err := local.Open(dir, unlock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func create(t *testing.T, k *local.Keyring) kms.ID {
	t.Helper()
	id := kms.NewID()
	if _, err := k.Create(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// fileOf is where the package comment says that a key lies.
func fileOf(dir string, id kms.ID) string {
	return filepath.Join(dir, "keys", id.String()[:2], id.String())
}

func TestConformance(t *testing.T) {
	kmstest.Run(t, func(t *testing.T) kmstest.Opener {
		dir, unlock := setup(t)
		return func(t *testing.T) kms.Provider {
			k, err := local.Open(dir, unlock)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
	})
}

func TestPassphrase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	right := local.Passphrase(secret.New([]byte("correct horse battery")))
	k, err := local.Create(dir, right)
	if err != nil {
		t.Fatal(err)
	}
	id := create(t, k)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]local.Unlock{
		"another passphrase": local.Passphrase(secret.New([]byte("correct horse batterY"))),
		"a key file":         keyFile(t),
	} {
		if _, err := local.Open(dir, wrong); !errors.Is(err, local.ErrUnlock) {
			t.Errorf("open with %s: %v, want ErrUnlock", name, err)
		}
	}
	if _, err := local.Open(dir, local.Unlock{}); err == nil {
		t.Error("the zero Unlock opens a keyring")
	}
	keys, err := open(t, dir, right).Open(t.Context(), id)
	if err != nil || keys[0].Missing() {
		t.Errorf("the key is gone after a reopen (%v)", err)
	}
}

func TestShortPassphrase(t *testing.T) {
	if _, err := local.Create(filepath.Join(t.TempDir(), "keys"), local.Passphrase(secret.New([]byte("short")))); err == nil {
		t.Error("a passphrase of five bytes is accepted")
	}
}

func TestKeyFile(t *testing.T) {
	dir, unlock := setup(t)
	open(t, dir, unlock)
	if _, err := local.Open(dir, keyFile(t)); !errors.Is(err, local.ErrUnlock) {
		t.Errorf("open with another key file: %v, want ErrUnlock", err)
	}
	path := filepath.Join(t.TempDir(), "root.key")
	if err := local.NewKeyFile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new key file has mode %v (%v), want 0600", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	if err := local.NewKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("make a key file over another: %v, want fs.ErrExist", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, before) {
		t.Error("a key file was replaced")
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(dir, local.KeyFile(path)); err == nil || errors.Is(err, local.ErrUnlock) {
		t.Errorf("a key file that everyone may read is accepted (%v)", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir, unlock := setup(t)
	if _, err := local.Create(dir, unlock); !errors.Is(err, kms.ErrExists) {
		t.Errorf("create over a keyring: %v, want ErrExists", err)
	}
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "MANIFEST"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Create(occupied, unlock); err == nil {
		t.Error("a keyring is made among other files")
	}
	if _, err := local.Open(t.TempDir(), unlock); err == nil {
		t.Error("an empty directory opens as a keyring")
	}
}

func TestPermissions(t *testing.T) {
	for _, name := range []string{".", "keyring"} {
		dir, unlock := setup(t)
		if err := os.Chmod(filepath.Join(dir, name), 0o750); err != nil {
			t.Fatal(err)
		}
		if _, err := local.Open(dir, unlock); err == nil {
			t.Errorf("opens although the group may reach %s", name)
		}
	}
}

func TestEverythingIsPrivate(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	create(t, k)
	kmstest.Claim(t, k)
	versions(t, dir, k, 2)
	if err := k.SetMark(t.Context(), kms.Mark{}, kms.Mark{Entries: 1}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	for name, damage := range map[string]func(file []byte) []byte{
		"bit flip":     func(f []byte) []byte { f[20] ^= 1; return f },
		"version":      func(f []byte) []byte { f[0] = 2; return f },
		"cut":          func(f []byte) []byte { return f[:len(f)-1] },
		"empty":        func([]byte) []byte { return nil },
		"longer":       func(f []byte) []byte { return append(f, 0) },
		"short zeros":  func(f []byte) []byte { return make([]byte, len(f)-1) },
		"longer zeros": func(f []byte) []byte { return make([]byte, len(f)+1) },
	} {
		id := create(t, k)
		file, err := os.ReadFile(fileOf(dir, id))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fileOf(dir, id), damage(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(t.Context(), create(t, k), id); !errors.Is(err, kms.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		if err := k.Destroy(t.Context(), kmstest.Claim(t, k), id); err != nil {
			t.Errorf("%s: a damaged key is not destroyed: %v", name, err)
		}
	}
}

func TestKeyUnderAnotherName(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	id, other := create(t, k), kms.NewID()
	if err := os.Rename(fileOf(dir, id), fileOf(dir, other)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(t.Context(), other); !errors.Is(err, kms.ErrCorrupt) {
		t.Errorf("a moved file opens: %v", err)
	}
}

// TestDestroyReachesEveryLink destroys a key whose creation was cut off between the link and the removal of the name
// aside. Both names, and a third that keeps the bytes in view, show zeros.
func TestDestroyReachesEveryLink(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	id := create(t, k)
	aside, witness := filepath.Join(dir, "tmp", id.String()), filepath.Join(t.TempDir(), "witness")
	for _, name := range []string{aside, witness} {
		if err := os.Link(fileOf(dir, id), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Destroy(t.Context(), kmstest.Claim(t, k), id); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{aside, fileOf(dir, id)} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}
	if rest, err := os.ReadFile(witness); err != nil || !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Errorf("the bytes were unlinked without being overwritten (%v)", err)
	}
}

// TestInterruptedDestroy finds a file that was overwritten but not unlinked.
func TestInterruptedDestroy(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	id := create(t, k)
	info, err := os.Stat(fileOf(dir, id))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fileOf(dir, id), make([]byte, info.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := k.Open(t.Context(), id); err != nil || !keys[0].Missing() {
		t.Errorf("an overwritten key is not missing (%v)", err)
	}
	if err := k.Destroy(t.Context(), kmstest.Claim(t, k), id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(fileOf(dir, id)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the repeated destroy left the file")
	}
}

// TestAbsenceIsNotDestruction takes the keys away in ways that leave "not found" behind.
func TestAbsenceIsNotDestruction(t *testing.T) {
	for name, takeAway := range map[string]func(t *testing.T, dir string, unlock local.Unlock, id kms.ID){
		"directory moved": func(t *testing.T, dir string, _ local.Unlock, _ kms.ID) {
			rename(t, dir, dir+".moved")
		},
		"another keyring in its place": func(t *testing.T, dir string, unlock local.Unlock, _ kms.ID) {
			rename(t, dir, dir+".moved")
			k, err := local.Create(dir, unlock)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"another keyring file": func(t *testing.T, dir string, unlock local.Unlock, _ kms.ID) {
			other := filepath.Join(t.TempDir(), "keys")
			k, err := local.Create(other, unlock)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			rename(t, filepath.Join(other, "keyring"), filepath.Join(dir, "keyring"))
		},
		"keyring file gone": func(t *testing.T, dir string, _ local.Unlock, _ kms.ID) {
			rename(t, filepath.Join(dir, "keyring"), filepath.Join(t.TempDir(), "keyring"))
		},
		"folder of the key gone": func(t *testing.T, dir string, _ local.Unlock, id kms.ID) {
			rename(t, filepath.Dir(fileOf(dir, id)), filepath.Join(t.TempDir(), "shard"))
		},
		"folder of the generations empty": func(t *testing.T, dir string, _ local.Unlock, _ kms.ID) {
			if err := os.RemoveAll(filepath.Join(dir, "generation")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "generation"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, unlock := setup(t)
			k := open(t, dir, unlock)
			id := create(t, k)
			claim := kmstest.Claim(t, k)
			takeAway(t, dir, unlock, id)
			if err := k.Destroy(t.Context(), claim, id); err == nil {
				t.Error("the key counts as destroyed")
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestClaimCheckedAfter lets another store take the title while a destroy is under way.
func TestClaimCheckedAfter(t *testing.T) {
	dir, unlock := setup(t)
	k, other := open(t, dir, unlock), open(t, dir, unlock)
	claim := kmstest.Claim(t, k)
	ids := make([]kms.ID, 500)
	for i := range ids {
		ids[i] = kms.NewID()
	}
	if _, err := k.Create(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- k.Destroy(t.Context(), claim, ids...) }()
	for {
		if _, err := os.Lstat(fileOf(dir, ids[0])); errors.Is(err, fs.ErrNotExist) {
			break // under way
		}
	}
	kmstest.Claim(t, other)
	if err := <-result; !errors.Is(err, kms.ErrClaim) {
		t.Errorf("destroy under a title that was lost meanwhile: %v, want ErrClaim", err)
	}
}

// TestCreateInterrupted repeats a set-up that ended before the keyring file was written.
func TestCreateInterrupted(t *testing.T) {
	dir, unlock := setup(t)
	if err := os.Remove(filepath.Join(dir, "keyring")); err != nil {
		t.Fatal(err)
	}
	k, err := local.Create(dir, unlock)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{1, 100, 2000} {
		b.Run(map[int]string{1: "one", 100: "batch of 100", 2000: "batch of 2000"}[n], func(b *testing.B) {
			base := b.TempDir()
			if err := local.NewKeyFile(filepath.Join(base, "root.key")); err != nil {
				b.Fatal(err)
			}
			k, err := local.Create(filepath.Join(base, "keys"), local.KeyFile(filepath.Join(base, "root.key")))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = k.Close() }()
			ids := make([]kms.ID, n)
			for b.Loop() {
				for i := range ids {
					ids[i] = kms.NewID()
				}
				if _, err := k.Create(b.Context(), ids...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// TestSettleNeedsEveryFolder: what cannot be synced is not said to stay.
func TestSettleNeedsEveryFolder(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	if err := k.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"keys/7f", "generation"} {
		aside := filepath.Join(dir, "aside")
		if err := os.Rename(filepath.Join(dir, folder), aside); err != nil {
			t.Fatal(err)
		}
		if err := k.Settle(t.Context()); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("without %s: %v", folder, err)
		}
		if err := os.Rename(aside, filepath.Join(dir, folder)); err != nil {
			t.Fatal(err)
		}
	}
}
