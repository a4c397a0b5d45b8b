// Package independent gives tests a program that verifies what a vault publishes of its log with none of the vault's code:
// see build/main.go. It is a module of its own, so that what it is made of is none of the product's.
package independent

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program builds the program and returns its path. The go command's own cache makes that quick after the first time.
func Program(t testing.TB) string {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	program := filepath.Join(t.TempDir(), "independent")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", program, ".") //nolint:gosec // the path is made here
	cmd.Dir = filepath.Join(filepath.Dir(string(bytes.TrimSpace(module))), "vault", "audit", "independent", "build")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the independent verifier: %v\n%s", err, out)
	}
	return program
}
