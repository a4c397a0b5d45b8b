package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestHardened: a server leaves no core dump with keys in it, and holds them in locked memory.
func TestHardened(t *testing.T) {
	s := start(t, "serve", "--dev", "--home", filepath.Join(t.TempDir(), "home"))
	waitUntil(t, func() bool { // the pool of keys made ahead fills after the start
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
		return err == nil && regexp.MustCompile(`(?m)^VmLck:\s+[1-9]\d* kB$`).Match(status)
	})
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size\s+0\s+0\s`).Match(limits) {
		t.Errorf("core dumps are allowed:\n%s", limits)
	}
}
