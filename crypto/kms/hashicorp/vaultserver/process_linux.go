package vaultserver

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent has the system kill the server when the test binary ends, so
// that a test that panics or runs out of time leaves none behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// awaitPause returns when every thread of the process has stopped after a
// SIGSTOP, or the process has ended: until then it may answer a request. It
// asks for stops only, and takes no exit away from the goroutine that waits
// for that.
func (p *process) awaitPause() error {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return nil
		default:
			return err
		}
	}
}
