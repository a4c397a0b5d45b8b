package vaultserver

import (
	"fmt"
	"runtime"
	"testing"
)

// outcome records how a test would have ended instead of ending it.
type outcome struct {
	testing.TB
	skipped, failed bool
	message         string
}

func (o *outcome) Skipf(format string, arguments ...any) {
	o.skipped, o.message = true, fmt.Sprintf(format, arguments...)
	runtime.Goexit()
}

func (o *outcome) Fatalf(format string, arguments ...any) {
	o.failed, o.message = true, fmt.Sprintf(format, arguments...)
	runtime.Goexit()
}
