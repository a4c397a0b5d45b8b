package document_test

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/secret"
)

// TestMain keeps the package out of processes where documents cannot be: TestFIPS shows what happens there.
func TestMain(m *testing.M) {
	if fips140.Enforced() {
		os.Exit(underEnforcement())
	}
	os.Exit(m.Run())
}

// TestFIPS runs the package's tests in a process in FIPS 140-3 mode, and asks what documents do where that is enforced.
func TestFIPS(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("in FIPS mode already")
	}
	for _, mode := range []string{"on", "only"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^Test", "-test.short")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("under fips140=%s: %v\n%s", mode, err, out)
		}
	}
}

// underEnforcement returns 0 when documents give ErrCipher.
func underEnforcement() int {
	_, writing := document.NewWriter(io.Discard, secret.New(testKey), passport)
	_, reading := document.Open(bytes.NewReader(nil), 0, secret.New(testKey), passport, 0)
	if !errors.Is(writing, document.ErrCipher) || !errors.Is(reading, document.ErrCipher) {
		fmt.Fprintf(os.Stderr, "writing gives %v, reading %v\n", writing, reading)
		return 1
	}
	return 0
}
