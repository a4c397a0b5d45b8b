package vaultserver

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// emptyMachine hides every server and the Go toolchain of this machine from t
// and returns the only folder on its PATH and its cache.
func emptyMachine(t *testing.T) (bin, cache string) {
	t.Helper()
	bin, cache = t.TempDir(), t.TempDir()
	t.Setenv(BinaryVariable, "")
	t.Setenv("PATH", bin)
	t.Setenv("HOME", cache)
	t.Setenv("XDG_CACHE_HOME", cache)
	return bin, cache
}

func program(t *testing.T, path, script string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFindPrefersTheNamedBinary(t *testing.T) {
	bin, _ := emptyMachine(t)
	if _, err := Find(); !errors.Is(err, ErrNotFound) {
		t.Fatalf("on an empty machine: %v, want ErrNotFound", err)
	}
	for _, name := range []string{"bao", "vault", "named"} {
		path := filepath.Join(bin, name)
		program(t, path, "")
		if name == "named" {
			t.Setenv(BinaryVariable, path)
		}
		if got, err := Find(); err != nil || got != path {
			t.Errorf("after %s came: %q, %v", name, got, err)
		}
	}
	t.Setenv(BinaryVariable, filepath.Join(bin, "absent"))
	if got, err := Find(); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a named binary that is not there gave %q, %v; want an error of its own", got, err)
	}
}

// Whatever the number of builders, the toolchain runs once and all get the
// same program.
func TestConcurrentBuildsCompileOnce(t *testing.T) {
	bin, cache := emptyMachine(t)
	runs := filepath.Join(cache, "runs")
	program(t, filepath.Join(bin, "go"), `
echo run >> `+runs+`
/bin/sleep 0.3
while [ "$1" != -o ]; do shift; done
echo program > "$2"
`)
	paths := make([]string, 3)
	var builders sync.WaitGroup
	for i := range paths {
		builders.Go(func() {
			var err error
			if paths[i], err = Build(t.Context(), io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
	builders.Wait()
	found, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if path != found {
			t.Errorf("built %q, found %q", path, found)
		}
	}
	if content, err := os.ReadFile(runs); err != nil || string(content) != "run\n" {
		t.Errorf("the toolchain ran %q times (%v), want once", content, err)
	}
}

func TestFailedBuildLeavesNoServer(t *testing.T) {
	bin, _ := emptyMachine(t)
	program(t, filepath.Join(bin, "go"), `
echo a reason >&2
while [ "$1" != -o ]; do shift; done
echo half > "$2"
exit 1
`)
	var log bytes.Buffer
	if _, err := Build(t.Context(), &log); err == nil || !strings.Contains(err.Error(), "a reason") {
		t.Errorf("the error does not carry the toolchain's output: %v", err)
	}
	if _, err := Find(); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a failed build: %v, want ErrNotFound", err)
	}
}

// A server built from other sources or other pins is another server.
func TestCachePathFollowsTheSources(t *testing.T) {
	emptyMachine(t)
	source := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	for _, change := range []struct{ name, content string }{
		{"go.mod", "module a"}, {"go.mod", "module b"}, {"go.sum", "x"}, {"main.go", "x"}, {"main.go", "y"}, {"discover/d.go", "x"},
	} {
		write(change.name, change.content)
		path, err := cachePath(source)
		if err != nil {
			t.Fatal(err)
		}
		if earlier, ok := seen[path]; ok {
			t.Errorf("%s = %q gives the path of %s", change.name, change.content, earlier)
		}
		seen[path] = change.name + " = " + change.content
		if again, err := cachePath(source); err != nil || again != path {
			t.Errorf("the same sources gave %q and %q (%v)", path, again, err)
		}
	}
}

func TestVersionIsThePinnedOne(t *testing.T) {
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), "github.com/hashicorp/vault v"+Version+"\n") {
		t.Errorf("build/go.mod does not pin HashiCorp Vault %s", Version)
	}
}

// Without a server a test is skipped, unless servers are required.
func TestMissingServer(t *testing.T) {
	for _, c := range []struct {
		name, required, ci string
		skips              bool
	}{
		{"on somebody's machine", "", "", true},
		{"in make test", "1", "", false},
		{"in CI", "", "true", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			emptyMachine(t)
			t.Setenv("SANDYQ_REQUIRE_SERVERS", c.required)
			t.Setenv("CI", c.ci)
			outcome := &outcome{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				Start(outcome)
			}()
			<-done
			if outcome.skipped != c.skips || outcome.failed == c.skips {
				t.Errorf("skipped %v, failed %v", outcome.skipped, outcome.failed)
			}
			if !strings.Contains(outcome.message, "go run ./crypto/kms/hashicorp/vaultserver/ensure") {
				t.Errorf("the message does not name the command that builds a server: %s", outcome.message)
			}
		})
	}
}
