// Package endtoend tests the one binary from outside, as a process: what it survives, what it leaks, what it costs.
package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/store/postgres/pgserver"
)

var ctx = context.Background()

// binary is built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sandyq-endtoend-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sandyq")
	out, err := exec.Command("go", "build", "-o", path, "github.com/sandyq/sandyq/cmd/sandyq").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := pgserver.Main(m)
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// scaled is a count that SANDYQ_TEST_SCALE multiplies.
func scaled(n int) int {
	if by, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil && by > 0 {
		return n * by
	}
	return n
}

// server is a running `sandyq serve --dev`.
type server struct {
	*client.Client
	home, address, ops string
	program            string // that it runs; empty: the one that is tested
	output             *output
	cmd                *exec.Cmd
	ended              chan error
}

// output is what a process printed, readable while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// portsTried counts the ports that free has looked at.
var portsTried atomic.Int64

// free is a loopback address that nobody listens on. Its port is below those that the system gives to connections, so that none takes it
// before the server does, or while that is down.
func free(t testing.TB) string {
	t.Helper()
	for range 1_000 {
		port := 10_000 + os.Getpid()%9_000 + int(portsTried.Add(1))
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", address); err == nil {
			check(t, l.Close())
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// serve starts a server on a home, with more arguments, and waits until it is ready.
func serve(t testing.TB, home string, more ...string) *server {
	t.Helper()
	path, err := binary()
	check(t, err)
	s := &server{home: home, address: free(t), ops: free(t), output: &output{}, ended: make(chan error, 1)}
	s.cmd = exec.Command(path, append([]string{"serve", "--dev", "--home", home, "--listen", s.address, "--ops", s.ops}, more...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	check(t, s.cmd.Start())
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(s.kill)
	began := time.Now()
	for !s.ready() {
		select {
		case err := <-s.ended:
			t.Fatalf("the server ended at its start: %v\n%s", err, s.output)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the server is not ready\n%s", s.output)
		}
	}
	token, err := os.ReadFile(filepath.Join(home, "dev.token"))
	check(t, err)
	s.Client, err = client.New("http://"+s.address, strings.TrimSpace(string(token)))
	check(t, err)
	return s
}

func (s *server) ready() bool {
	resp, err := http.Get("http://" + s.ops + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the process at once, as kill -9 does.
func (s *server) kill() {
	if s.cmd.Process.Kill() == nil {
		s.ended <- <-s.ended
	}
}

// stop ends the process in good order.
func (s *server) stop(t testing.TB) {
	t.Helper()
	check(t, s.cmd.Process.Signal(os.Interrupt))
	err := <-s.ended
	s.ended <- err
	if err != nil {
		t.Fatalf("the server ended with %v\n%s", err, s.output)
	}
}

// resident is the process's resident memory, now and at its highest, in bytes.
func (s *server) resident(t testing.TB) (now, highest int64) {
	t.Helper()
	read := s.status(t)
	return read("VmRSS"), read("VmHWM")
}

// status reads what the kernel says of the process's memory, in bytes by name.
func (s *server) status(t testing.TB) func(name string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	check(t, err)
	return func(name string) int64 {
		t.Helper()
		_, rest, _ := strings.Cut(string(status), name+":")
		n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		check(t, err)
		return n << 10
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
