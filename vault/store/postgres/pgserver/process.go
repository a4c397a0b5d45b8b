package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errAddressInUse = errors.New("the server's port is taken")

// process is the postmaster. Its goroutine ends with it.
type process struct {
	cmd  *exec.Cmd
	done <-chan struct{} // closed when the process has ended and was waited for
}

// Owner is who runs a server: nil for the caller, unless that is root.
func Owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(found.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(found.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("run the server as %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// command is one of PostgreSQL's programs, run as its owner and without the caller's PG* variables.
func (s *Server) command(name string, arguments ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), arguments...) //nolint:gosec // the developer names the folder
	cmd.Dir = s.home
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	dieWithParent(cmd)
	return cmd
}

// launchAnywhere launches on a free port. One may be lost to another process between the choice and the server's own bind:
// then another is chosen.
func (s *Server) launchAnywhere(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("find a free port: %w", err)
		}
		s.Port = listener.Addr().(*net.TCPAddr).Port
		if err := listener.Close(); err != nil {
			return fmt.Errorf("find a free port: %w", err)
		}
		if err = s.launch(ctx); !errors.Is(err, errAddressInUse) || attempt == 5 {
			return err
		}
	}
}

// launch starts the server and returns once it accepts connections. Processes of one that was killed may hold on to the
// data for a moment; then it tries again.
func (s *Server) launch(ctx context.Context) error {
	for {
		output, err := s.launchOnce(ctx)
		if err == nil || !bytes.Contains(output, []byte("pre-existing shared memory block")) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

func (s *Server) launchOnce(ctx context.Context) (output []byte, err error) {
	log, err := os.OpenFile(filepath.Join(s.home, "log"), os.O_CREATE|os.O_RDWR|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has it open by itself
	cmd := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.Port))
	cmd.Stdout, cmd.Stderr = log, log
	s.process = &process{cmd: cmd}
	if s.process.done, err = Spawn(cmd); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	for ended := false; ; {
		if output, err = io.ReadAll(io.NewSectionReader(log, 0, 1<<20)); err != nil {
			return nil, fmt.Errorf("read the server's log: %w", err)
		}
		switch {
		case ended && bytes.Contains(output, []byte("Address already in use")):
			return output, errAddressInUse
		case ended:
			return output, fmt.Errorf("postgres ended at start (%s):\n%s", cmd.ProcessState, output)
		case bytes.Contains(output, []byte("ready to accept")): // connections, or read-only connections
			return output, nil
		}
		select {
		case <-s.process.done:
			ended = true // and has said why
		case <-ctx.Done():
			s.process.kill()
			return output, fmt.Errorf("postgres did not start: %w\n%s", ctx.Err(), output)
		case <-time.After(pollEvery):
		}
	}
}

// Spawn starts a program that dies with this process (on Linux), under a goroutine that waits for it and then closes ended. The
// goroutine keeps its thread: Linux sends the parent-death signal when the thread that forked ends, not the process.
func Spawn(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	dieWithParent(cmd)
	done, started := make(chan struct{}), make(chan error)
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

// signal sends a signal to the postmaster; one that has ended needs none.
func (p *process) signal(signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// signalAll sends a signal to the postmaster, which then starts nothing if that stops it, and to its children.
func (p *process) signalAll(signal syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	err := p.signal(signal)
	for _, child := range p.children() {
		if one := syscall.Kill(child, signal); one != nil && !errors.Is(one, syscall.ESRCH) {
			err = errors.Join(err, one)
		}
	}
	return err
}

// kill ends all processes of the server. The postmaster is stopped first, so that it can neither start others nor reap its
// children, whose numbers therefore stay theirs.
func (p *process) kill() {
	if p.cmd.Process == nil { // never started
		<-p.done
		return
	}
	_ = p.signal(syscall.SIGSTOP) // these fail only on a process that has ended
	_ = p.signalAll(syscall.SIGKILL)
	_ = p.signal(syscall.SIGKILL)
	<-p.done
}
