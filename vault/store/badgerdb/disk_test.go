package badgerdb

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in a file, mounted through a loop device.
type disk struct {
	image string
	dir   string
}

// newDisk makes and mounts one of so many MiB. That takes root, loop devices and mkfs.ext4: without them the test is
// skipped, and fails where the build says that everything must be there.
func newDisk(t *testing.T, mib int64) *disk {
	t.Helper()
	cannot := t.Skipf
	if os.Getenv("CI") == "true" {
		cannot = t.Fatalf
	}
	if os.Geteuid() != 0 {
		cannot("NOT TESTED: mounting a disk takes root")
	}
	d := &disk{image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		cannot("NOT TESTED: mkfs.ext4: %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			t.Errorf("unmounting: %v", err)
		}
	})
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		cannot("NOT TESTED: mount -o loop: %v %s", err, out)
	}
	return d
}

// cut does to the file system what a power cut does: whatever was not synced is gone, and nothing can be written.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		t.Fatalf("EXT4_IOC_SHUTDOWN: %v", err)
	}
}

// remount brings the file system back, which replays its journal.
func (d *disk) remount(t *testing.T) {
	t.Helper()
	var err error
	for range 100 { // a killed process may still be letting go of it
		if err = unix.Unmount(d.dir, 0); err != unix.EBUSY {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("unmounting: %v", err)
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		t.Fatalf("mounting again: %v %s", err, out)
	}
}
