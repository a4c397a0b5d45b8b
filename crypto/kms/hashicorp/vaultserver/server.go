// Package vaultserver runs a real HashiCorp Vault server for tests.
//
//	func TestMain(m *testing.M) { os.Exit(vaultserver.Main(m)) }
//
//	func TestKeys(t *testing.T) {
//		server := vaultserver.Shared(t) // or Start(t), for one's own to seal and kill
//		status, body := server.Request(t, "POST", "sys/mounts/keys", map[string]any{"type": "kv"})
//		…
//	}
//
// A server is a process of its own with a fresh storage directory, listening
// in the clear on a random port of 127.0.0.1, initialised with a single unseal
// key and unsealed. What tests do to it is what happens to a real one: it is
// sealed over its API, killed with SIGKILL, stopped in mid-air with SIGSTOP,
// started again on the same data and the same address. StartCluster runs three
// of them over one raft log.
//
// The program is `vault` or OpenBao's `bao` when the machine has it, else the
// slim server in build/, a nested module that holds HashiCorp's own code at
// Version; see Find and Build. All take the same configuration file. The slim
// one has kv and transit, the login methods approle, cert, jwt and kubernetes,
// the storages file, inmem and raft, and the file audit device.
//
// A machine without any server skips the test, except where
// SANDYQ_REQUIRE_SERVERS=1 or CI=true: there the test fails.
//
// Invariants: no server outlives the test binary that started it, however that
// ends (on Linux; elsewhere a killed test binary leaves its servers running);
// no VAULT_* or BAO_* variable of the caller reaches a server; only processes
// started here are ever signalled. The package runs on Unix.
package vaultserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// startLimit bounds a start, from the fork to an unsealed server.
	startLimit = 60 * time.Second
	// stopLimit bounds an orderly stop, after which the server is killed.
	stopLimit = 20 * time.Second
	// requestLimit bounds one request.
	requestLimit = 30 * time.Second
	// pollEvery is how often a start looks for progress.
	pollEvery = 10 * time.Millisecond
)

// Server is one running server. The methods that change its state (Seal to
// Resume) are for one goroutine at a time; other goroutines may send requests
// meanwhile. Methods that take a t end its test when they fail, and may be
// used in its cleanup.
type Server struct {
	// Address is the base URL, such as "http://127.0.0.1:41873".
	Address string
	// Secure is where it listens with TLS; nil without the option TLS.
	Secure *Secure
	// RootToken may do everything.
	RootToken string

	unsealKey string
	binary    string
	home      string // configuration, data and log; removed by discard
	client    *http.Client
	process   *process
	clustered bool // one of a Cluster, so that standing by is serving too
}

// Option changes the server that Start makes.
type Option func(*settings)

// Raft keeps the data in integrated storage, which can take and restore
// snapshots, instead of the file storage. It starts a few seconds slower:
// the node has to elect itself.
func Raft() Option {
	return func(s *settings) { s.raft = true }
}

// Start runs a fresh server for t and discards it, data and all, when t ends.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, err := start(t.Context(), options)
	if err != nil {
		stopTest(t, err)
	}
	t.Cleanup(s.discard)
	return s
}

func start(ctx context.Context, options []Option) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	var settings settings
	for _, option := range options {
		option(&settings)
	}
	s, err := launched(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	if err := s.initialise(ctx); err != nil {
		return nil, err
	}
	return s, s.unseal(ctx)
}

// launched returns a server that listens: sealed and empty.
func launched(ctx context.Context, settings settings) (_ *Server, err error) {
	s := &Server{
		// A connection kept alive would outlive the server it was made to,
		// and would look like a leak to the tests that count goroutines.
		client: &http.Client{Timeout: requestLimit, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if s.binary, err = Find(); err != nil {
		return nil, err
	}
	if s.home, err = os.MkdirTemp("", "sandyq-vaultserver-"); err != nil {
		return nil, fmt.Errorf("make the server's directory: %w", err)
	}
	defer func() {
		if err != nil {
			s.discard()
		}
	}()
	return s, s.launchAnywhere(ctx, settings)
}

// launchAnywhere launches on ports that are free. One may be lost to another
// process between the choice and the server's own bind: then others are
// chosen.
func (s *Server) launchAnywhere(ctx context.Context, settings settings) error {
	for attempt := 1; ; attempt++ {
		address, err := settings.write(s.home)
		if err != nil {
			return err
		}
		s.Address, s.Secure = "http://"+address, settings.secure
		if err = s.launch(ctx); !errors.Is(err, errAddressInUse) || attempt == 5 {
			return err
		}
	}
}

// relaunch starts a server on the address it had. Its port, free while it was
// down, may for a while be the near end of somebody's connection.
func (s *Server) relaunch(ctx context.Context) error {
	for {
		err := s.launch(ctx)
		if !errors.Is(err, errAddressInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * pollEvery):
		}
	}
}

// Seal seals the server: it answers 503 to everything but its status.
func (s *Server) Seal(t testing.TB) {
	t.Helper()
	if err := s.do(lasting(t), http.MethodPut, "sys/seal", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// Unseal unseals the server and returns once it serves.
func (s *Server) Unseal(t testing.TB) {
	t.Helper()
	if err := s.unseal(lasting(t)); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server in the orderly way, SIGTERM, and waits for its end. A
// stopped server stays stopped.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
	s.signal(t, syscall.SIGTERM)
	select {
	case <-s.process.done:
	case <-time.After(stopLimit):
		s.process.kill()
		t.Fatalf("the server did not stop within %s of SIGTERM", stopLimit)
	}
}

// Kill ends the server with SIGKILL and waits for its end.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	<-s.process.done
}

// Restart starts the server again on the same data and address, stopping it
// first if it still runs, and unseals it.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	ctx, cancel := context.WithTimeout(lasting(t), startLimit)
	defer cancel()
	if err := s.relaunch(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.unseal(ctx); err != nil {
		t.Fatal(err)
	}
}

// Pause freezes the server with SIGSTOP: its connections stay open and
// nothing answers. Resume thaws it.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	if err := s.process.awaitPause(); err != nil {
		t.Fatalf("wait for the server to pause: %v", err)
	}
}

// Resume undoes Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.process.signal(signal); err != nil {
		t.Fatalf("send %s to the server: %v", signal, err)
	}
}

// lasting is t's context without its end, which comes before t's cleanup.
// Everything done under it has a limit of its own.
func lasting(t testing.TB) context.Context {
	return context.WithoutCancel(t.Context())
}

// discard kills the server and removes its data.
func (s *Server) discard() {
	if s.process != nil {
		s.process.kill()
	}
	_ = os.RemoveAll(s.home) // it lies in the temporary folder
}

var sayOnce sync.Once

// say tells the person at the terminal, if there is one, what is left out: go test shows nothing that a package which passes
// has printed.
func say(err error) {
	tty, openErr := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if openErr != nil {
		return
	}
	_, _ = fmt.Fprintf(tty, "\n*** NOT TESTED with a real HashiCorp Vault: %v\n\n", err)
	_ = tty.Close()
}

// stopTest ends a test that cannot have its server: by skipping when there is
// none on this machine and nobody said there must be.
func stopTest(t testing.TB, err error) {
	t.Helper()
	required := os.Getenv("SANDYQ_REQUIRE_SERVERS") == "1" || os.Getenv("CI") == "true"
	if errors.Is(err, ErrNotFound) && !required {
		sayOnce.Do(func() { say(err) })
		t.Skipf("NOT TESTED: %v", err)
	}
	t.Fatalf("start HashiCorp Vault: %v", err)
}
