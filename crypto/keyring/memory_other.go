//go:build !linux

package keyring

import (
	"errors"
	"fmt"
)

// region is a stretch of memory; on this system of Go's heap.
type region struct {
	bytes  []byte
	locked bool
}

func newRegion(size int) (region, error) {
	return region{bytes: make([]byte, size)}, fmt.Errorf("lock %d bytes: %w", size, errors.ErrUnsupported)
}

func (region) unmap() {}

// Harden keeps the memory of a process from others where that is known how; here it is not.
func Harden() error { return fmt.Errorf("keyring: harden the process: %w", errors.ErrUnsupported) }
