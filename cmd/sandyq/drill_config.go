package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/blob/file"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// drillConfig is about canary drills.
type drillConfig struct {
	// Every is how long from one drill to the next; 0: only when asked to.
	Every time.Duration `yaml:"every"`
}

const (
	defaultDrillEvery = 7 * 24 * time.Hour
	minDrillEvery     = time.Hour
)

// check refuses what could not work.
func (d drillConfig) check() error {
	if d.Every != 0 && d.Every < minDrillEvery {
		return settingError{"drill.every", fmt.Sprintf("is 0 or at least %s", minDrillEvery)}
	}
	return nil
}

// drills are the tenant's, in a folder of the home. A backup is restored into Badger there, as sandyq restore does, whatever
// engine the vault has.
func (c config) drills() *vault.Drills {
	return &vault.Drills{Every: c.Drill.Every, Dir: filepath.Join(c.Home, c.folder, "drill"), Scratch: openScratch}
}

func openScratch(dir string) (store.Store, blob.Store, func() error, error) {
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
