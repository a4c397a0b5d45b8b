//go:build !linux

package vaultserver

import "syscall"

// dieWithParent is Linux's alone.
func dieWithParent() *syscall.SysProcAttr { return nil }
