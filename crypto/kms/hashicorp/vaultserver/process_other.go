//go:build !linux

package vaultserver

import "syscall"

// dieWithParent is Linux's alone.
func dieWithParent() *syscall.SysProcAttr { return nil }

// awaitPause is Linux's alone: elsewhere a server may answer a last request
// that reaches it together with SIGSTOP.
func (p *process) awaitPause() error { return nil }
