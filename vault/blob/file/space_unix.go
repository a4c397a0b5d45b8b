//go:build unix

package file

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace is how many bytes an ordinary user may still write to the file system of a directory.
func freeSpace(root *os.Root) (uint64, error) {
	dir, err := root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("blob/file: look for free space: %w", err)
	}
	defer func() { _ = dir.Close() }() // it was only read
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, fmt.Errorf("blob/file: look for free space: %w", err)
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // Bavail is signed on FreeBSD
}
