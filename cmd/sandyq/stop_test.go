package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
)

// jpeg is enough of one to be taken for one.
var jpeg = append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"), bytes.Repeat([]byte{7}, 300<<10)...)

// upload is a document on its way in, of which half was sent.
type upload struct {
	rest *io.PipeWriter
	done chan error
}

func beginUpload(t *testing.T, s *server) *upload {
	t.Helper()
	c := s.client(t, client.WithAttempts(1))
	person, err := c.CreateSubject(t.Context(), &api.CreateSubjectRequest{Purpose: "registration"})
	if err != nil {
		t.Fatal(err)
	}
	body, rest := io.Pipe()
	u := &upload{rest, make(chan error, 1)}
	go func() {
		_, err := c.UploadDocument(context.WithoutCancel(t.Context()), person.Subject, client.Upload{
			Kind: "identity_card", MediaType: "image/jpeg", Purpose: "registration", Capture: "digital",
		}, body)
		_ = body.CloseWithError(io.ErrClosedPipe)
		u.done <- err
	}()
	if _, err := rest.Write(jpeg[:len(jpeg)/2]); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		_, body := s.get(t, "/metrics")
		return strings.Contains(body, "sandyq_http_requests_in_flight 1")
	})
	return u
}

// abandon ends the sending, and gives the answer.
func (u *upload) abandon() error {
	_ = u.rest.CloseWithError(io.ErrUnexpectedEOF) // always nil
	return <-u.done
}

func waitUntil(t *testing.T, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain")
}

// TestGracefulStop: a request that runs is answered, and meanwhile probes learn of it and nothing new is taken.
func TestGracefulStop(t *testing.T) {
	s := start(t, "serve", "--dev", "--home", filepath.Join(t.TempDir(), "home"))
	u := beginUpload(t, s)
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		status, body := s.get(t, "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	waitUntil(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.API, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if _, err := u.rest.Write(jpeg[len(jpeg)/2:]); err != nil {
		t.Fatal(err)
	}
	if err := u.rest.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-u.done; err != nil {
		t.Errorf("the upload that ran: %v", err)
	}
	if code := s.wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
}

// TestSecondSignal ends at once what waits for a request.
func TestSecondSignal(t *testing.T) {
	s := start(t, "serve", "--dev", "--home", filepath.Join(t.TempDir(), "home"))
	u := beginUpload(t, s)
	if err := s.process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		status, _ := s.get(t, "/readyz")
		return status == http.StatusServiceUnavailable
	})
	if err := s.process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.wait(t, time.Second)
	if status := s.process.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", s.process.ProcessState)
	}
	if u.abandon() == nil {
		t.Error("the upload that was cut off was acknowledged")
	}
}

// TestShutdownTimeout cuts off what does not end in time, and closes in order all the same.
func TestShutdownTimeout(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sandyq.yaml")
	if err := os.WriteFile(file, []byte("home: home\nshutdown_timeout: 200ms\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "serve", "--dev", "--config", file)
	u := beginUpload(t, s)
	began := time.Now()
	if code := s.stop(t); code != 1 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if u.abandon() == nil {
		t.Error("the upload that was cut off was acknowledged")
	}
	if stderr := s.stderr.String(); strings.Contains(stderr, errCallsRun.Error()) {
		t.Errorf("the call did not end: %s", stderr)
	}
}

// TestStopUnderLoad: every registration that was acknowledged before or during the stop is there afterwards.
func TestStopUnderLoad(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	s := start(t, "serve", "--dev", "--home", home)
	c := s.client(t, client.WithAttempts(1))
	const clients = 16
	acknowledged := make(map[string]string)
	var mu sync.Mutex
	var load sync.WaitGroup
	for i := range clients {
		load.Go(func() {
			for j := 0; ; j++ {
				name := strings.Repeat("а", i+1) + strings.Repeat("б", j%40+1)
				token, err := register(context.Background(), c, name)
				if err != nil {
					return // the server is gone
				}
				mu.Lock()
				acknowledged[token] = name
				mu.Unlock()
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	if code := s.stop(t); code != 0 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
	load.Wait()
	if len(acknowledged) < clients {
		t.Fatalf("only %d registrations were acknowledged", len(acknowledged))
	}
	again := start(t, "serve", "--dev", "--home", home)
	c = again.client(t)
	for token, name := range acknowledged {
		if got, err := recall(t.Context(), c, token); err != nil || got != name {
			t.Fatalf("of %d acknowledged registrations one is lost: %v", len(acknowledged), err)
		}
	}
	t.Logf("%d registrations acknowledged, none lost", len(acknowledged))
}

// TestFailedStore: a process whose store cannot sync ends at once, and says so by its exit code. strace stands for the disk.
func TestFailedStore(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-e", "trace=none", "-qq", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NOT TESTED: strace: %v %s", err, out)
		}
		t.Skipf("NOT TESTED: strace: %v %s", err, out)
	}
	home := filepath.Join(t.TempDir(), "home")
	s, err := tryStart(t, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=msync", "-e", "inject=msync:error=EIO:when=30+",
		program, "serve", "--dev", "--home", home)
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(t, client.WithAttempts(1))
	var last time.Time
	failed := error(nil)
	for i := 0; failed == nil; i++ {
		if i == 100_000 {
			t.Fatal("no sync fails")
		}
		last = time.Now()
		_, failed = register(t.Context(), c, fmt.Sprint("а", strings.Repeat("б", i%50)))
	}
	code := s.wait(t, 10*time.Second)
	if took := time.Since(last); took > time.Second {
		t.Errorf("it took %v to end", took)
	}
	if code != 1 || !strings.Contains(s.stderr.String(), errStoreFailed.Error()) {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
}
