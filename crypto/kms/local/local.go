// Package local keeps subject keys in a directory of files: no server, for small sites, demonstrations and tests.
//
// # Model
//
// A root key, come by from a passphrase or a key file ([Unlock]), opens the file keyring. In it lie three random values
// made at set-up: the master key, which seals every other file; the index key, which only answers MAC; and the sentinel.
// Each subject key is one small file under its random id, so that destroying it touches nothing else:
//
//	keyring                 root-key parameters, and sealed: master key, index key, sentinel
//	keys/ab/abcd…           a subject key; the name is its id and reveals nothing
//	signing/0…01            a signing key, one file a version, never rewritten; the first is made when it is first asked for
//	generation/0…01         what Advance wrote, one file a number, never rewritten
//	mark                    what SetMark wrote last
//	tmp/                    files on their way
//
// The directory belongs to Sandyq's user alone, lies outside the store's, and is left out of backups: a copy of it beside
// a copy of the store undoes every erasure that came after.
//
// # Format
//
// Every file begins with a version byte, 1. Sealed means nonce ‖ AES-256-GCM ciphertext ‖ tag with a random nonce; the
// associated data name format, purpose and place, so that no file opens under another name. See keyring.go and entry.go.
//
// # Invariants
//
//   - A file appears under its name whole and synced, by link(2), which never replaces: write-once, whoever races. The
//     mark alone is replaced, by rename(2).
//   - A call returns after the folders that it changed are synced.
//   - Destroying overwrites, syncs, unlinks and syncs the folder, under a claim that is read from the disk before and
//     after, from the directory that the path names now. Flash and copy-on-write disks keep what was overwritten.
//   - A second process may open the directory. Keys and generations are write-once files and rest on no lock; who sets
//     the mark holds flock(2) on the directory.
package local

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Keyring is a provider over one directory. It is safe for concurrent use.
type Keyring struct {
	path string // where the directory was found; the claim checks that it is there still

	mu     sync.RWMutex // held for reading by every call, for writing by Close
	closed bool

	dir      *os.Root
	contents contents // what the keyring file held when it was opened
	root     rootKey
}

var (
	_ kms.Provider = (*Keyring)(nil)
	_ kms.Settler  = (*Keyring)(nil)
)

// Create sets a keyring up in dir, which is made if it is not there (its parent must be), and opens it. It fails with
// [kms.ErrExists] when a keyring is there already, and refuses a directory that holds anything else. A set-up that was
// interrupted may be repeated.
func Create(dir string, unlock Unlock) (*Keyring, error) {
	if err := create(dir, unlock); err != nil {
		return nil, fmt.Errorf("local: create keyring: %w", err)
	}
	return Open(dir, unlock)
}

// Open opens the keyring in dir. It fails with [ErrUnlock] under a wrong passphrase or key file, and refuses a directory
// that others may enter or another user has.
func Open(dir string, unlock Unlock) (*Keyring, error) {
	k, err := openKeyring(dir, unlock)
	if err != nil {
		return nil, fmt.Errorf("local: open keyring: %w", err)
	}
	return k, nil
}

func openKeyring(path string, unlock Unlock) (_ *Keyring, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = dir.Close() // nothing was written through it
		}
	}()
	if err := private(dir); err != nil {
		return nil, err
	}
	file, err := readKeyring(dir)
	if err != nil {
		return nil, err
	}
	root, err := unlock.root(file.parameters)
	if err != nil {
		return nil, err
	}
	contents, err := file.open(root)
	if err != nil {
		return nil, err
	}
	return &Keyring{path: path, dir: dir, contents: contents, root: root}, nil
}

// private refuses a directory or keyring file that is another user's, or that group or others can reach.
func private(dir *os.Root) error {
	for _, name := range []string{".", keyringName} {
		info, err := dir.Stat(name)
		if err != nil {
			return err
		}
		if owner := ownerOf(info); owner != os.Geteuid() {
			return fmt.Errorf("%s belongs to the user %d, and this is %d", info.Name(), owner, os.Geteuid())
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return fmt.Errorf("%s has mode %#o: others may reach it; run chmod -R go= on the directory", info.Name(), mode)
		}
	}
	return nil
}

// Close forgets the keys, after the calls under way.
func (k *Keyring) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	k.contents.wipe()
	k.root.wipe()
	return k.dir.Close()
}

// begin admits a call unless the keyring is closed or ctx has ended; end lets Close go on.
func (k *Keyring) begin(ctx context.Context) (end func(), err error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	k.mu.RLock()
	if k.closed {
		k.mu.RUnlock()
		return nil, fmt.Errorf("%w: the keyring is closed", kms.ErrUnavailable)
	}
	return k.mu.RUnlock, nil
}

func ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%w: %w", kms.ErrUnavailable, err)
	}
	return nil
}

// failed marks an error of the file system as one of the provider's. Paths in it are ids.
func failed(err error) error {
	if err == nil || errors.Is(err, kms.ErrCorrupt) || errors.Is(err, kms.ErrClaim) ||
		errors.Is(err, kms.ErrExists) || errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrVersion) {
		return err
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", kms.ErrExists, err)
	}
	return fmt.Errorf("%w: %w", kms.ErrUnavailable, err)
}

// MAC computes HMAC-SHA-256 under the index key.
func (k *Keyring) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	end, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("local: MAC: %w", err)
	}
	defer end()
	sums := make([][]byte, len(inputs))
	h := hmac.New(sha256.New, k.contents.index.Expose())
	for i, input := range inputs {
		h.Reset()
		h.Write(input)
		sums[i] = h.Sum(nil)
	}
	return sums, nil
}
