// Package litewitness runs, for tests, a witness that others wrote: filippo.io/torchwood's litewitness, built from a module of its own,
// so that what it is made of is none of the product's.
package litewitness

import (
	"bytes"
	"crypto/ed25519"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/witness"
)

// Start runs a witness of a name, on the loopback and until the test ends, that knows the log with a key.
func Start(t testing.TB, name string, log checkpoint.Key) witness.Witness {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	build(t, dir, "litewitness", "filippo.io/torchwood/cmd/litewitness")
	build(t, dir, "register", ".")
	db := filepath.Join(dir, "db")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "register"), db, log.String()).CombinedOutput(); err != nil { //nolint:gosec // what was built here
		t.Fatalf("register the log: %v\n%s", err, out)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "agent")
	fingerprint := serveKey(t, socket, private)
	address := freeAddress(t)
	cmd := exec.Command(filepath.Join(dir, "litewitness"), "-name", name, "-db", db, "-ssh-agent", socket, "-listen", address, "-key", fingerprint) //nolint:gosec,noctx // the same; it is killed below
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("litewitness: %s", said.Bytes())
		}
	})
	return witness.Witness{URL: "http://" + address, Key: checkpoint.Cosigner{Name: name, Public: public}}
}

// build builds a program of the module beside this into dir.
func build(t testing.TB, dir, name, what string) {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, name), what) //nolint:gosec // the path is made here
	cmd.Dir = filepath.Join(filepath.Dir(string(bytes.TrimSpace(module))), "vault", "audit", "witness", "litewitness", "build")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
}

// serveKey gives out signatures of a key, as an ssh-agent does, and returns the key's fingerprint.
func serveKey(t testing.TB, socket string, private ed25519.PrivateKey) string {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = agent.ServeAgent(keys, conn) // ends with the witness
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return ssh.FingerprintSHA256(signer.PublicKey())
}

// freeAddress is one on the loopback that nobody listened on just now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
