package keyring

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/crypto/kms"
)

// child runs one test of this binary in a process of its own and returns its output.
func child(t *testing.T, test, mode string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "KEYRING_TEST_CHILD="+mode)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	return string(out)
}

func inChild() string { return os.Getenv("KEYRING_TEST_CHILD") }

func TestHarden(t *testing.T) {
	if inChild() == "" {
		if out := child(t, "TestHarden", "harden"); !strings.Contains(out, "hardened") {
			t.Errorf("the child tells %s", out)
		}
		return
	}
	if err := Harden(); err != nil {
		t.Fatal(err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core != (unix.Rlimit{}) {
		t.Errorf("RLIMIT_CORE = %+v, %v", core, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("PR_GET_DUMPABLE = %d, %v", dumpable, err)
	}
	t.Log("hardened")
}

// flagsOf returns what /proc/self/smaps tells of the mapping that holds a slot.
func flagsOf(t *testing.T, s *slot) string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, inside := uint64(uintptr(unsafe.Pointer(s))), false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uint64
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			inside = from <= at && at < to
		} else if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && inside {
			return flags + " "
		}
	}
	t.Fatal("no mapping holds the slot")
	return ""
}

func TestKeysLieInLockedMemoryThatIsNotDumped(t *testing.T) {
	a := newArena(func(err error) { t.Skipf("this system lets nobody lock memory: %v", err) })
	defer a.close()
	s := a.get()
	defer a.put(s)
	flags := flagsOf(t, s)
	for _, want := range []string{" lo ", " dd "} { // locked, do not dump
		if !strings.Contains(flags, want) {
			t.Errorf("flags of the mapping are%s, want%s", flags, want)
		}
	}
}

// With nothing left to lock, keys are kept all the same, and the lack is told once.
func TestMemoryThatCannotBeLockedIsToldAndUsed(t *testing.T) {
	if inChild() == "" {
		if out := child(t, "TestMemoryThatCannotBeLockedIsToldAndUsed", "unlocked"); !strings.Contains(out, "told once") {
			t.Errorf("the child tells %s", out)
		}
		return
	}
	runtime.LockOSThread() // capabilities are a thread's
	dropLockRight(t)
	var told []error
	a := newArena(func(err error) { told = append(told, err) })
	var slots []*slot
	for range 3 * regionSize / kms.KeySize {
		s := a.get()
		s[0] = 1
		slots = append(slots, s)
	}
	var stats Stats
	a.stats(&stats)
	if len(told) != 1 || !errors.Is(told[0], unix.ENOMEM) && !errors.Is(told[0], unix.EPERM) {
		t.Errorf("told %v, want once that memory cannot be locked", told)
	}
	if stats.LockedBytes != 0 || stats.UnlockedBytes != 3*regionSize {
		t.Errorf("%d bytes locked and %d not", stats.LockedBytes, stats.UnlockedBytes)
	}
	for _, s := range slots {
		a.put(s)
	}
	a.close()
	t.Log("told once")
}

// dropLockRight forbids this process to lock memory, which root may do without limit by a capability.
func dropLockRight(t *testing.T) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
}

func TestSlotsAreWipedWhenTheyComeBack(t *testing.T) {
	a := newArena(func(error) {})
	defer a.close()
	s := a.get()
	for i := range s {
		s[i] = 0xff
	}
	a.put(s)
	if *s != (slot{}) {
		t.Error("a slot came back unwiped")
	}
}
