package main

import (
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/crypto/secret"
)

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

// readPassphrase reads the one line of a file.
func readPassphrase(path string) (secret.Bytes, error) {
	line, err := readSecretLine(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	if len(line) < local.MinPassphrase {
		return secret.Bytes{}, fmt.Errorf("the passphrase in %s is shorter than %d bytes", path, local.MinPassphrase)
	}
	return secret.New(line), nil
}
