package vaultserver

import "syscall"

// dieWithParent has the system kill the server when the test binary ends, so
// that a test that panics or runs out of time leaves none behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
