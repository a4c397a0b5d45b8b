package vaulttest

import (
	"errors"
	"path/filepath"

	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// Scratch opens Badger and file blobs in a folder, for vault.Drills.
func Scratch(dir string) (store.Store, blob.Store, func() error, error) {
	rows, err := badgerdb.Open(badgerdb.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return nil, nil, nil, err
	}
	blobs, err := file.Open(filepath.Join(dir, "documents"), 0)
	if err != nil {
		return nil, nil, nil, errors.Join(err, rows.Close())
	}
	return rows, blobs, func() error { return errors.Join(blobs.Close(), rows.Close()) }, nil
}
