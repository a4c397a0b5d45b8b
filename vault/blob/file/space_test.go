package file

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
)

// diskOf returns a store that takes free for the free space.
func diskOf(t *testing.T, free *uint64, floor uint64) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), floor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.free = func(*os.Root) (uint64, error) { return *free, nil }
	return s
}

func TestABlobStopsAtTheFloorWhileItIsWritten(t *testing.T) {
	free := uint64(100 << 20)
	s := diskOf(t, &free, 64<<20)
	id := blob.NewID()
	w, err := s.Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	piece := make([]byte, 1<<20)
	if _, err := w.Write(piece); err != nil {
		t.Fatalf("Write above the floor: %v", err)
	}
	free = 64 << 20
	written := 1
	for ; err == nil && written < 100; written++ {
		_, err = w.Write(piece)
	}
	if !errors.Is(err, blob.ErrNoSpace) || written > 2*checkEvery>>20 {
		t.Fatalf("Write at the floor = %v after %d MiB, want ErrNoSpace soon", err, written)
	}
	free = 100 << 20
	if err := w.Commit(); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Commit of a blob with a hole = %v, want the first failure", err)
	}
	if _, err := s.Open(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open = %v", err)
	}
}

func TestAnUnknownAmountOfSpaceRefuses(t *testing.T) {
	s := diskOf(t, new(uint64), 0)
	s.free = func(*os.Root) (uint64, error) { return 0, syscall.EIO }
	if _, err := s.Create(t.Context(), blob.NewID()); !errors.Is(err, syscall.EIO) {
		t.Errorf("Create = %v, want EIO", err)
	}
}

func TestFullDisksAndSpentQuotasAreNoSpace(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if err := noSpace(&os.PathError{Op: "write", Err: errno}); !errors.Is(err, blob.ErrNoSpace) || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
	if err := noSpace(syscall.EIO); errors.Is(err, blob.ErrNoSpace) {
		t.Error("EIO became ErrNoSpace")
	}
}
