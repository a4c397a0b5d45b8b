package smallfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/crypto/smallfile"
)

func folder(t *testing.T) (string, *os.Root) {
	t.Helper()
	path := t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return path, dir
}

func want(t *testing.T, path string, files map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != len(files) {
		t.Fatalf("%d files, want %d (%v)", len(entries), len(files), err)
	}
	for name, content := range files {
		got, err := os.ReadFile(filepath.Join(path, name))
		if err != nil || string(got) != content {
			t.Errorf("%s holds %q, want %q (%v)", name, got, content, err)
		}
		if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", name, info.Mode(), err)
		}
	}
}

func TestCreate(t *testing.T) {
	path, dir := folder(t)
	if err := smallfile.Create(dir, "aside", "a", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := smallfile.Create(dir, "aside", "a", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v, want fs.ErrExist", err)
	}
	want(t, path, map[string]string{"a": "first"})
}

func TestCreateRace(t *testing.T) {
	path, dir := folder(t)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = smallfile.Create(dir, fmt.Sprintf("aside%d", i), "a", fmt.Append(nil, i)) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			t.Fatal("two made the file")
		case err == nil:
			won = i
		case !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	}
	want(t, path, map[string]string{"a": fmt.Sprint(won)})
}

func TestReplace(t *testing.T) {
	path, dir := folder(t)
	if err := os.WriteFile(filepath.Join(path, "aside"), []byte("what a crash left, and longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "2nd"} {
		if err := smallfile.Replace(dir, "aside", "a", []byte(content)); err != nil {
			t.Fatal(err)
		}
		want(t, path, map[string]string{"a": content})
	}
}

// TestErase looks at the bytes through another name.
func TestErase(t *testing.T) {
	path, dir := folder(t)
	if err := smallfile.Create(dir, "aside", "a", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	witness := filepath.Join(t.TempDir(), "witness")
	if err := os.Link(filepath.Join(path, "a"), witness); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one that is not there is erased
		if err := smallfile.Erase(dir, "a"); err != nil {
			t.Fatal(err)
		}
	}
	want(t, path, nil)
	if got, err := os.ReadFile(witness); err != nil || !bytes.Equal(got, make([]byte, len("secret"))) {
		t.Errorf("the bytes are %q still (%v)", got, err)
	}
}

func TestRead(t *testing.T) {
	_, dir := folder(t)
	if err := smallfile.Create(dir, "aside", "a", []byte("12345")); err != nil {
		t.Fatal(err)
	}
	for limit, length := range map[int]int{3: 4, 5: 5, 9: 5} {
		if b, err := smallfile.Read(dir, "a", limit); err != nil || len(b) != length {
			t.Errorf("read at most %d: %d bytes, want %d (%v)", limit, len(b), length, err)
		}
	}
	if _, err := smallfile.Read(dir, "b", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read what is not there: %v", err)
	}
}
