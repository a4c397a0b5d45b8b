package keyring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// region is a stretch of memory outside Go's heap.
type region struct {
	bytes  []byte
	locked bool // cannot be swapped out, and is left out of core dumps
	mapped bool
}

// newRegion maps size bytes, locks them and leaves them out of core dumps. The region is usable whatever the error.
func newRegion(size int) (region, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return region{bytes: make([]byte, size)}, fmt.Errorf("map %d bytes: %w", size, err)
	}
	err = unix.Madvise(b, unix.MADV_DONTDUMP)
	if err != nil {
		err = fmt.Errorf("leave out of core dumps: %w", err)
	}
	if e := unix.Mlock(b); e != nil {
		err = errors.Join(err, fmt.Errorf("lock %d bytes (is RLIMIT_MEMLOCK too low?): %w", size, e))
	}
	return region{bytes: b, locked: err == nil, mapped: true}, err
}

func (r region) unmap() {
	if r.mapped {
		_ = unix.Munmap(r.bytes) // fails only for what was never mapped
	}
}

// Harden keeps the memory of this process from others: no core dumps, and no other process of the same user may trace it
// or read its memory (which also makes most of /proc/self belong to root). It is for main to call, first thing.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("keyring: turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keyring: make the process not dumpable: %w", err)
	}
	return nil
}
