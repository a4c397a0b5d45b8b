package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

const markSize = 8 + 32 // entries and head

// Mark implements [kms.Anchor].
func (k *Keyring) Mark(ctx context.Context) (kms.Mark, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return kms.Mark{}, fmt.Errorf("local: read mark: %w", err)
	}
	defer end()
	m, err := k.mark()
	if err != nil {
		return kms.Mark{}, fmt.Errorf("local: read mark: %w", err)
	}
	return m, nil
}

func (k *Keyring) mark() (kms.Mark, error) {
	entry, err := smallfile.Read(k.dir, markName, markFileLength)
	if errors.Is(err, fs.ErrNotExist) {
		return kms.Mark{}, nil
	}
	if err != nil {
		return kms.Mark{}, failed(err)
	}
	b, err := openEntry(k.contents.master, markContext(), entry)
	if err != nil || len(b) != markSize {
		return kms.Mark{}, fmt.Errorf("%w: mark", kms.ErrCorrupt)
	}
	return kms.Mark{Entries: binary.BigEndian.Uint64(b), Head: [32]byte(b[8:])}, nil
}

// SetMark implements [kms.Anchor]. The file is replaced whole, by whoever holds the lock, after it was compared.
func (k *Keyring) SetMark(ctx context.Context, from, next kms.Mark) error {
	end, err := k.begin(ctx)
	if err != nil {
		return fmt.Errorf("local: set mark: %w", err)
	}
	defer end()
	if err := k.setMark(ctx, from, next); err != nil {
		return fmt.Errorf("local: set mark: %w", err)
	}
	return nil
}

func (k *Keyring) setMark(ctx context.Context, from, next kms.Mark) (err error) {
	lock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failed(lock.Close())) }() // which lets go of the lock
	now, err := k.mark()
	if err != nil {
		return err
	}
	done, err := now.Check(from, next)
	if err != nil {
		return err
	}
	if !done {
		if err := k.writeMark(next); err != nil {
			return err
		}
	}
	return failed(smallfile.SyncDir(k.dir, ".")) // of a repeated call too: the first may have failed here
}

// writeMark puts the mark in the place of the one before. The caller holds the lock, so that one name aside is enough,
// which what a crash left does not block.
func (k *Keyring) writeMark(m kms.Mark) error {
	plaintext := append(binary.BigEndian.AppendUint64(nil, m.Entries), m.Head[:]...)
	entry, err := sealEntry(k.contents.master, markContext(), plaintext)
	if err != nil {
		return err
	}
	return failed(smallfile.Replace(k.dir, path.Join(tmpName, markName), markName, entry))
}

// lockEvery is how often a lock that another holds is tried: one holds it for two syncs.
const lockEvery = 2 * time.Millisecond

// lock takes the directory's lock, against other processes and other calls of this one. Closing lets go of it, as the
// end of a process does.
func (k *Keyring) lock(ctx context.Context) (*os.File, error) {
	f, err := k.dir.Open(".")
	if err != nil {
		return nil, failed(err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(failed(fmt.Errorf("lock: %w", err)), f.Close())
		}
		select {
		case <-time.After(lockEvery):
		case <-ctx.Done():
			return nil, errors.Join(ended(ctx), f.Close())
		}
	}
}
