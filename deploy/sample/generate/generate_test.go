package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"testing"
)

// What is committed is what the program writes, byte for byte. When this fails after a change here, or with another version of Go, whose encoders
// may compress otherwise: run go generate ./deploy/sample, look at the pictures, commit them.
func TestCommittedFilesAreTheGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("draws every picture")
	}
	out := t.TempDir()
	if err := run(out); err != nil {
		t.Fatal(err)
	}
	const committed = ".."
	compare(t, out, committed, "people.csv")
	compare(t, out, committed, "holders.csv")
	names := listing(t, filepath.Join(out, "specimens"))
	if got, want := listing(t, filepath.Join(committed, "specimens")), names; len(got) != len(want) {
		t.Errorf("%d specimens are committed, %d are generated", len(got), len(want))
	}
	if runtime.GOARCH != "amd64" {
		t.Logf("pictures not compared: the curves differ in the last bit on %s", runtime.GOARCH)
		return
	}
	for _, name := range names {
		compare(t, out, committed, path.Join("specimens", name))
	}
}

func compare(t *testing.T, generated, committed, name string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(generated, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(committed, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: generated anew it differs", name)
	}
}

func listing(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}
