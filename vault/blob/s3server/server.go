// Package s3server runs a real S3 server for tests: the Versity S3 Gateway over a folder, with versions and object lock, as a
// process of its own on a random port of 127.0.0.1, in the clear.
//
// The program is `versitygw` when the machine has it, else the release that the nested module in build/ pins; see Find and Build.
// A machine without any skips the test, except where SANDYQ_REQUIRE_SERVERS=1 or CI=true: there the test fails. No server
// outlives the test that started it, nor, on Linux, the test binary.
package s3server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const startLimit = 30 * time.Second

// Server is one running server.
type Server struct {
	Address   string // host and port
	AccessKey string // may do everything
	SecretKey string
	Region    string
}

// Start runs a fresh server for t, and discards it, data and all, when t ends.
func Start(t testing.TB) Server {
	t.Helper()
	binary, err := Find()
	required := os.Getenv("SANDYQ_REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true"
	if errors.Is(err, ErrNotFound) && !required {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatalf("start an S3 server: %v", err)
	}
	var last error
	for range 5 { // a port may be lost between the choice and the server's own bind
		s, err := launch(t, binary)
		if err == nil {
			return s
		}
		last = err
	}
	t.Fatalf("start an S3 server: %v", last)
	return Server{}
}

func launch(t testing.TB, binary string) (Server, error) {
	home := t.TempDir()
	data, versions := filepath.Join(home, "data"), filepath.Join(home, "versions")
	for _, dir := range []string{data, versions} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return Server{}, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return Server{}, err
	}
	s := Server{Address: address, AccessKey: "test", SecretKey: "test-secret", Region: "us-east-1"}
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		return Server{}, err
	}
	defer func() { _ = log.Close() }()                                                                                                // the process has it open by itself
	cmd := exec.Command(binary, "--port", address, "--access", s.AccessKey, "--secret", s.SecretKey, "--region", s.Region, "--quiet", //nolint:gosec // the developer names the binary
		"posix", "--versioning-dir", versions, data)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	done, err := spawn(cmd)
	if err != nil {
		return Server{}, err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-done
	})
	for deadline := time.After(startLimit); ; {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return s, c.Close()
		}
		select {
		case <-done:
			output, _ := os.ReadFile(log.Name())
			return Server{}, fmt.Errorf("%s ended at start (%s):\n%s", binary, cmd.ProcessState, output)
		case <-deadline:
			return Server{}, fmt.Errorf("%s does not answer after %s", binary, startLimit)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// spawn starts cmd under a goroutine that waits for it, and closes done then. It keeps its thread: Linux sends the parent-death
// signal when the thread that forked ends.
func spawn(cmd *exec.Cmd) (done chan struct{}, err error) {
	done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	return done, <-started
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
