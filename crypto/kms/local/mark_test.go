package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestMarkDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, file string){
		"bit flip": flip,
		"cut":      func(t *testing.T, file string) { truncate(t, file, 68) },
		"empty":    func(t *testing.T, file string) { truncate(t, file, 0) },
		"longer":   func(t *testing.T, file string) { truncate(t, file, 70) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, unlock := setup(t)
			k := open(t, dir, unlock)
			m := kms.Mark{Entries: 5, Head: [32]byte{5}}
			if err := k.SetMark(t.Context(), kms.Mark{}, m); err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(dir, "mark"))
			if now, err := k.Mark(t.Context()); !errors.Is(err, kms.ErrCorrupt) {
				t.Errorf("mark %s, %v, want ErrCorrupt", now, err)
			}
			if err := k.SetMark(t.Context(), m, kms.Mark{Entries: 6}); !errors.Is(err, kms.ErrCorrupt) {
				t.Errorf("set over a damaged mark: %v, want ErrCorrupt", err)
			}
		})
	}
}

// TestMarkInterrupted finds what a crash left between writing the file and renaming it.
func TestMarkInterrupted(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	aside := filepath.Join(dir, "tmp", "mark")
	if err := os.WriteFile(aside, []byte("a longer file than a mark has ................................................"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := k.Mark(t.Context()); err != nil || m != (kms.Mark{}) {
		t.Errorf("mark %s, want the first (%v)", m, err)
	}
	m := kms.Mark{Entries: 5, Head: [32]byte{5}}
	if err := k.SetMark(t.Context(), kms.Mark{}, m); err != nil {
		t.Fatal(err)
	}
	if now, err := k.Mark(t.Context()); err != nil || now != m {
		t.Errorf("mark %s, want %s (%v)", now, m, err)
	}
	if _, err := os.Lstat(aside); err == nil {
		t.Error("the file aside is left")
	}
}

// TestMarkLocked waits for a process that holds the lock, as long as its context lets it.
func TestMarkLocked(t *testing.T) {
	dir, unlock := setup(t)
	k := open(t, dir, unlock)
	holder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	if err := syscall.Flock(int(holder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	m := kms.Mark{Entries: 1}
	if err := k.SetMark(ctx, kms.Mark{}, m); !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("set while another holds the lock: %v, want ErrUnavailable", err)
	}
	if now, err := k.Mark(t.Context()); err != nil || now != (kms.Mark{}) {
		t.Errorf("mark %s, want the first (%v)", now, err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := k.SetMark(t.Context(), kms.Mark{}, m); err != nil {
		t.Errorf("set once the lock is free: %v", err)
	}
}
