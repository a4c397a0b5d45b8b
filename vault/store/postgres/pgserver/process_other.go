//go:build !linux

package pgserver

import "syscall"

// dieWithParent is Linux's alone.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// children are known on Linux alone: elsewhere the postmaster's children end by themselves when it does.
func (p *process) children() []int { return nil }
