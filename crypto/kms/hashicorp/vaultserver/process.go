package vaultserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

var errAddressInUse = errors.New("the server's address is taken")

// process is the server's process. Its goroutine ends with it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was waited for
}

// launch starts the server's process on the configuration in home and returns
// once it listens, sealed.
//
// An answer on the port is no proof that it is ours: the port may have gone to
// another server, with the process about to exit over it. The server says in
// its log that it listens, and every kind says it in these words.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.home, logName), os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer func() { _ = log.Close() }()                                                    // the process has it open by itself
	cmd := exec.Command(s.binary, "server", "-config="+filepath.Join(s.home, configName)) //nolint:gosec // the developer names the binary
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = environment()
	cmd.SysProcAttr = dieWithParent()
	if s.process, err = spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	for {
		output, err := io.ReadAll(io.NewSectionReader(log, 0, 1<<20))
		if err != nil {
			return fmt.Errorf("read the server's log: %w", err)
		}
		if bytes.Contains(output, []byte("server started!")) {
			return nil
		}
		select {
		case <-s.process.done:
			if bytes.Contains(output, []byte("address already in use")) {
				return errAddressInUse
			}
			return fmt.Errorf("%s ended at start (%s):\n%s", s.binary, cmd.ProcessState, output)
		case <-ctx.Done():
			s.process.kill()
			return fmt.Errorf("%s did not start: %w\n%s", s.binary, ctx.Err(), output)
		case <-time.After(pollEvery):
		}
	}
}

// spawn starts cmd under a goroutine that waits for it. The goroutine keeps
// its thread: Linux sends the parent-death signal when the thread that forked
// ends, not the process.
func spawn(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	return p, <-started
}

// signal sends a signal; a process that has ended needs none.
func (p *process) signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill ends the process and waits for its end. It can only fail on a process
// that has ended or was never started.
func (p *process) kill() {
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
	}
	<-p.done
}

// environment is the caller's without what would override the configuration.
// Autopilot is off: it would have a node that joins a cluster wait ten seconds
// for its vote.
func environment() []string {
	kept := []string{"VAULT_RAFT_AUTOPILOT_DISABLE=1"}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "VAULT_") && !strings.HasPrefix(variable, "BAO_") {
			kept = append(kept, variable)
		}
	}
	return kept
}
