// Package snapshot keeps snapshots of HashiCorp Vault's storage so that they end.
//
// # Model
//
// A snapshot holds every person's key of its day; with the unseal shares, whoever has a copy brings back all who were erased
// since. Copies cannot be called back. So a snapshot is kept as an age file (https://c2sp.org/age) for one fresh X25519
// identity, its outer key, which lies in another folder ([Outer]) as a small file named by its last day:
//
//	snapshots/vault.snapshot                      what [Take] wrote: an age file; copy it wherever snapshots go
//	outer/<id>.<2026-12-22>.outer                 its outer key, "AGE-SECRET-KEY-1…": never copied, never backed up
//
// When that day begins (UTC) the outer key is due: [Outer.Expire] overwrites and unlinks it, and every copy of the snapshot is
// noise. Nothing tells which outer key is whose: [Open] tries those that are there.
//
// # Invariants
//
//   - An outer key is durable before a byte is sealed to it, and is for one snapshot. One that is due opens nothing, even
//     if nobody has destroyed it yet.
//   - A file appears under its name whole, synced and checked: the archive's own sums are right and its last file, which
//     HashiCorp Vault seals when it is done, is there. A cut stream leaves no file and no outer key. A kill may leave a
//     file named *.part, and an outer key that opens nothing, which ends on its day.
//   - No file is replaced, and all have mode 0600.
//   - The folder of outer keys and the snapshot's do not lie in each other ([Apart]): whoever copies one has not the other.
//   - Nothing holds a whole snapshot in memory.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// ErrNoKey: no outer key in the folder opens the snapshot. Its day has come, or the folder is another.
var ErrNoKey = errors.New("no outer key opens it: its day has come and it is destroyed, or it lies in another folder")

// Taken is what [Take] made.
type Taken struct {
	Key  Key   // the outer key
	Size int64 // of the archive in bytes
}

// Take reads archive, a snapshot as HashiCorp Vault writes it, to its end, and writes it to a new file at path under a fresh
// outer key that is due on the day of expires. It stops when ctx ends.
func Take(ctx context.Context, archive io.Reader, path string, outer *Outer, expires time.Time) (Taken, error) {
	t, err := take(ctx, archive, path, outer, expires)
	if err != nil {
		return Taken{}, fmt.Errorf("snapshot: take: %w", err)
	}
	return t, nil
}

func take(ctx context.Context, archive io.Reader, path string, outer *Outer, expires time.Time) (t Taken, err error) {
	if err := Apart(outer.path, filepath.Dir(path)); err != nil {
		return t, err
	}
	part, err := newPart(path)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, part.abandon()) }()
	key, recipient, err := outer.create(expires)
	if err != nil {
		return t, fmt.Errorf("make outer key: %w", err)
	}
	defer func() {
		if err != nil { // nothing that counts is sealed to it
			err = errors.Join(err, outer.destroy(key))
		}
	}()
	sealed, err := age.Encrypt(part.file, recipient)
	if err != nil {
		return t, fmt.Errorf("seal: %w", err)
	}
	size, err := pass(ctx, archive, sealed)
	if err != nil {
		return t, err
	}
	if err := sealed.Close(); err != nil {
		return t, fmt.Errorf("seal: %w", err)
	}
	return Taken{key, size}, part.keep()
}

// Open writes the archive that the snapshot at path holds to a new file at to, for HashiCorp Vault to restore, and returns
// its size in bytes. now decides which outer keys are due.
func Open(ctx context.Context, path, to string, outer *Outer, now time.Time) (int64, error) {
	size, err := open(ctx, path, to, outer, now)
	if err != nil {
		return 0, fmt.Errorf("snapshot: open: %w", err)
	}
	return size, nil
}

func open(ctx context.Context, path, to string, outer *Outer, now time.Time) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	archive, err := outer.unseal(file, now)
	if err != nil {
		return 0, err
	}
	part, err := newPart(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, part.abandon()) }()
	if size, err = pass(ctx, archive, part.file); err != nil {
		return 0, err
	}
	return size, part.keep()
}
