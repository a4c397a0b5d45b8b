package local

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/crypto/smallfile"
)

// ErrUnlock: the passphrase or key file is not the one that the keyring was set up with, or the keyring file is damaged;
// the two cannot be told apart.
var ErrUnlock = errors.New("wrong passphrase or key file, or the keyring file is damaged")

// MinPassphrase is the length in bytes below which a passphrase is refused.
const MinPassphrase = 12

// Unlock is what a root key is come by from. The zero Unlock opens nothing.
type Unlock struct {
	kind       kind
	passphrase secret.Bytes
	keyFile    string
}

// kind says in the keyring file where its root key comes from.
type kind byte

const (
	kindPassphrase kind = 1
	kindKeyFile    kind = 2
)

// Passphrase unlocks with Argon2id (RFC 9106) of a passphrase of at least [MinPassphrase] bytes.
func Passphrase(p secret.Bytes) Unlock { return Unlock{kind: kindPassphrase, passphrase: p} }

// KeyFile unlocks with the key in a file that [NewKeyFile] made, such as a systemd credential. The file is this user's or
// root's, and may not be readable by others than its user and group, nor writable by its group.
func KeyFile(path string) Unlock { return Unlock{kind: kindKeyFile, keyFile: path} }

// rootKey opens the keyring file and nothing else.
type rootKey struct{ secret.Bytes }

func (r rootKey) wipe() { r.Wipe() }

// root derives the root key for a keyring file with these parameters.
func (u Unlock) root(p parameters) (rootKey, error) {
	switch {
	case u.kind == 0:
		return rootKey{}, errors.New("neither a passphrase nor a key file is given")
	case u.kind != p.kind && p.kind == kindPassphrase:
		return rootKey{}, fmt.Errorf("%w: the keyring asks for a passphrase", ErrUnlock)
	case u.kind != p.kind:
		return rootKey{}, fmt.Errorf("%w: the keyring asks for a key file", ErrUnlock)
	case u.kind == kindPassphrase:
		key := argon2.IDKey(u.passphrase.Expose(), p.salt[:], p.time, p.memory, p.threads, rootKeySize)
		return rootKey{secret.New(key)}, nil
	}
	file, err := readKeyFile(u.keyFile)
	if err != nil {
		return rootKey{}, err
	}
	defer file.Wipe()
	key, err := hkdf.Key(sha256.New, file.Expose(), p.salt[:], "sandyq/local/root/1", rootKeySize)
	if err != nil {
		return rootKey{}, fmt.Errorf("derive root key: %w", err)
	}
	return rootKey{secret.New(key)}, nil
}

const (
	rootKeySize   = 32
	keyFilePrefix = "sandyq-root-key-1:" // followed by 64 lower-case hexadecimal digits and a newline
)

// NewKeyFile writes a fresh random key to path with mode 0600, synced. It never replaces a file.
func NewKeyFile(path string) error {
	if err := newKeyFile(path); err != nil {
		return fmt.Errorf("local: make key file: %w", err)
	}
	return nil
}

func newKeyFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path)) // a torn key file would only be met at the next start
		}
	}()
	var key [rootKeySize]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	defer clear(key[:])
	text := append(hex.AppendEncode([]byte(keyFilePrefix), key[:]), '\n')
	defer clear(text)
	if err := smallfile.WriteAndClose(f, text); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func readKeyFile(path string) (secret.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	if owner := ownerOf(info); owner != os.Geteuid() && owner != 0 {
		return secret.Bytes{}, fmt.Errorf("key file %s belongs to the user %d, neither this one nor root", path, owner)
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return secret.Bytes{}, fmt.Errorf("key file %s has mode %#o: others may read or change it; run chmod 600", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(keyFileSize)+1))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	defer clear(text)
	return parseKeyFile(text)
}

const keyFileSize = len(keyFilePrefix) + 2*rootKeySize + 1

// parseKeyFile accepts what newKeyFile writes and nothing else.
func parseKeyFile(text []byte) (secret.Bytes, error) {
	malformed := errors.New("the key file is not one that sandyq made")
	if len(text) != keyFileSize || string(text[:len(keyFilePrefix)]) != keyFilePrefix || text[keyFileSize-1] != '\n' {
		return secret.Bytes{}, malformed
	}
	digits := text[len(keyFilePrefix) : keyFileSize-1]
	if strings.ContainsAny(string(digits), "ABCDEF") {
		return secret.Bytes{}, malformed
	}
	key := make([]byte, rootKeySize)
	if _, err := hex.Decode(key, digits); err != nil {
		return secret.Bytes{}, malformed
	}
	return secret.New(key), nil
}
