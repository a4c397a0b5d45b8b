// Package s3server runs a real S3 server for tests: the Versity S3 Gateway over a folder, with versions and object lock, as a
// process of its own on a random port of 127.0.0.1, in the clear.
//
// The program is `versitygw` when the machine has it, else the release that the nested module in build/ pins; see Find and Build.
// A machine without any skips the test, except where SANDYQ_REQUIRE_SERVERS=1 or CI=true: there the test fails. No server
// outlives the test that started it, nor, on Linux, the test binary. A test may kill it and run it again on its data.
package s3server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
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

	binary, home string
	process      *os.Process // nil while it is killed
	done         chan struct{}
	buckets      atomic.Int32
}

// Start runs a fresh server for t, and discards it, data and all, when t ends.
func Start(t testing.TB) *Server {
	t.Helper()
	binary, err := Find()
	required := os.Getenv("SANDYQ_REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true"
	if errors.Is(err, ErrNotFound) && !required {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatalf("start an S3 server: %v", err)
	}
	s := &Server{AccessKey: "test", SecretKey: "test-secret", Region: "us-east-1", binary: binary, home: t.TempDir()}
	for _, dir := range []string{s.data(), s.versions()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Kill)
	for range 5 { // a port may be lost between the choice and the server's own bind
		if s.Address, err = freeAddress(); err == nil {
			err = s.launch()
		}
		if err == nil {
			return s
		}
	}
	t.Fatalf("start an S3 server: %v", err)
	return nil
}

func (s *Server) data() string     { return filepath.Join(s.home, "data") }
func (s *Server) versions() string { return filepath.Join(s.home, "versions") }

// Kill ends the server with SIGKILL, and waits until it is gone.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Kill() // it may have ended
	<-s.done
	s.process = nil
}

// Restart runs the server that was killed again, on its data and at its address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.launch(); err != nil {
		t.Fatalf("start the S3 server again: %v", err)
	}
}

func (s *Server) launch() error {
	log, err := os.Create(filepath.Join(s.home, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()                                                                                                    // the process has it open by itself
	cmd := exec.Command(s.binary, "--port", s.Address, "--access", s.AccessKey, "--secret", s.SecretKey, "--region", s.Region, "--quiet", //nolint:gosec // the developer names the binary
		"posix", "--versioning-dir", s.versions(), s.data())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	done, err := spawn(cmd)
	if err != nil {
		return err
	}
	s.process, s.done = cmd.Process, done
	for deadline := time.After(startLimit); ; {
		if c, err := net.DialTimeout("tcp", s.Address, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-done:
			s.process = nil
			output, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s ended at start (%s):\n%s", s.binary, cmd.ProcessState, output)
		case <-deadline:
			s.Kill()
			return fmt.Errorf("%s does not answer after %s", s.binary, startLimit)
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
