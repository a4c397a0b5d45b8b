package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/client"
)

// program is the file of the program under test, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sandyq-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "sandyq")
		args := append(append([]string{"build"}, raceFlags...), "-o", program, ".")
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// server is a running sandyq serve.
type server struct {
	serving
	process *exec.Cmd
	stderr  *bytes.Buffer // whole once ended is closed
	ended   chan struct{}
}

// start runs sandyq serve with args on free ports and waits until it listens. It is killed when the test ends.
func start(t *testing.T, args ...string) *server {
	t.Helper()
	s, err := tryStart(t, append([]string{program}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tryStart is start with a command of its own before serve's flags.
func tryStart(t *testing.T, command ...string) (*server, error) {
	t.Helper()
	args := append(command[1:len(command):len(command)], "--listen=127.0.0.1:0", "--ops=127.0.0.1:0", "--json")
	s := &server{process: exec.Command(command[0], args...), stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	s.process.Stderr = s.stderr
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	var reading sync.WaitGroup
	lines := make(chan string, 1)
	reading.Go(func() {
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			default:
			}
		}
		close(lines)
	})
	go func() {
		reading.Wait()
		_ = s.process.Wait() // how it ended is in ProcessState
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.process.Process.Kill() // it may have ended
		<-s.ended
	})
	line, ok := <-lines
	if !ok {
		<-s.ended
		return nil, fmt.Errorf("it ended before it served, with %v: %s", s.process.ProcessState, s.stderr)
	}
	if err := json.Unmarshal([]byte(line), &s.serving); err != nil {
		return nil, fmt.Errorf("the first line is %q: %w", line, err)
	}
	return s, nil
}

// wait waits for the end and gives the exit code, -1 after a signal.
func (s *server) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-s.ended:
		return s.process.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("it still runs after %v", limit)
		return 0
	}
}

// stop asks the server to end, and gives the exit code.
func (s *server) stop(t *testing.T) int {
	t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return s.wait(t, 30*time.Second)
}

// client calls the server as the administrator of dev.token.
func (s *server) client(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	token, err := os.ReadFile(s.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s.API, strings.TrimSpace(string(token)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// get reads a page of the operations address.
func (s *server) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(s.Ops + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// sandyq runs a command to its end.
func sandyq(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
