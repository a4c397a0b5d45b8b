package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/crypto/secret"
)

const maxPassphraseFile = 4 << 10 // bytes

// unlock says what opens the local keyring: a passphrase where one is configured, otherwise the key file.
func (c config) unlock() (local.Unlock, error) {
	path := c.Keys.Local.PassphraseFile
	if path == "" {
		return local.KeyFile(c.keyFile()), nil
	}
	passphrase, err := readPassphrase(path)
	if err != nil {
		return local.Unlock{}, fmt.Errorf("keys.local.passphrase_file: %w", err)
	}
	return local.Passphrase(passphrase), nil
}

// readPassphrase reads the first line of a file, which is all that it may hold.
func readPassphrase(path string) (secret.Bytes, error) {
	if err := checkSecretFile(path); err != nil {
		return secret.Bytes{}, err
	}
	b, err := readSmall(path, maxPassphraseFile)
	if err != nil {
		return secret.Bytes{}, err
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(rest) > 0:
		return secret.Bytes{}, fmt.Errorf("%s has more than one line", path)
	case len(line) < local.MinPassphrase:
		return secret.Bytes{}, fmt.Errorf("the passphrase in %s is shorter than %d bytes", path, local.MinPassphrase)
	}
	return secret.New(line), nil
}

// checkSecretFile refuses a file that others than its user and group may read, or others than its user write. It is this
// user's or root's.
func checkSecretFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if ownerOf(info) != root {
		if err := checkOwner(path, info); err != nil {
			return err
		}
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return hinted(fmt.Errorf("%s holds a secret and has mode %#o", path, mode), "run chmod g=r,o= %s", path)
	}
	return nil
}
