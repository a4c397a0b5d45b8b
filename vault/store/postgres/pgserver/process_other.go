//go:build !linux

package pgserver

import "os/exec"

// dieWithParent is Linux's alone.
func dieWithParent(*exec.Cmd) {}

// children are known on Linux alone: elsewhere the postmaster's children end by themselves when it does.
func (p *process) children() []int { return nil }
