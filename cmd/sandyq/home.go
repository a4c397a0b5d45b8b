package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
)

// The folders of a home, unless the configuration moves them.
func (c config) storeDir() string { return or(c.Store.Badger.Dir, filepath.Join(c.Home, "store")) }
func (c config) documentsDir() string {
	return or(c.Blobs.File.Dir, filepath.Join(c.Home, "documents"))
}
func (c config) ledgerDir() string { return or(c.Ledger.Path, filepath.Join(c.Home, "ledger")) }

// ledgerDirs is the folder of the ledger, unless a bucket has it.
func (c config) ledgerDirs() []string {
	if c.Ledger.S3.used() {
		return nil
	}
	return []string{c.ledgerDir()}
}

// keyringDir is each tenant's own, as is what lies in it.
func (c config) keyringDir() string {
	return or(c.Keys.Local.Dir, filepath.Join(c.Home, c.folder, "keyring"))
}

// The keyring's folder holds the files of the keys and, where nothing else is configured, the key that opens them.
func (c config) keysDir() string { return filepath.Join(c.keyringDir(), "local") }
func (c config) keyFile() string {
	return or(c.Keys.Local.KeyFile, filepath.Join(c.keyringDir(), "root.key"))
}

// devToken is where serve --dev keeps the administrator's token.
func (c config) devToken() string { return filepath.Join(c.Home, "dev.token") }

// addressFile is where a server leaves its address while it runs, for client commands that are told the home.
func (c config) addressFile() string { return filepath.Join(c.Home, "address") }

// or is s, or otherwise when s is empty.
func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// mainDir is the folder that init leaves something in: of the store, or of whatever else is on this machine.
func (c config) mainDir() string { return append(c.dataDirs(), c.Home)[0] }

// keepsNothing reports whether rows, documents, keys and ledger are all on servers, so that any number of nodes may have this
// configuration and init has nothing to make for each. What a node has in its home then does not outlive its process.
func (c config) keepsNothing() bool {
	local := func(of config) bool { return of.Keys.Provider == providerLocal }
	return len(c.dataDirs()) == 0 && len(c.ledgerDirs()) == 0 && !slices.ContainsFunc(c.tenants(), local)
}

// isSetUp reports whether there is a store: whether init, or serve --dev, got that far once.
func (c config) isSetUp() (bool, error) {
	if c.keepsNothing() {
		return true, nil // nothing on this machine could tell
	}
	entries, err := os.ReadDir(c.mainDir())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a store: %w", err)
	}
	return len(entries) > 0 || c.Store.Engine == enginePostgres, nil // documents may be none
}

// errNotSetUp is the answer to whoever runs a vault in a home that has none.
func (c config) errNotSetUp() error {
	return hinted(fmt.Errorf("%s was never set up: there is no store in %s", c.Home, c.mainDir()),
		"run `sandyq init` with the same --config or --home once")
}

// ready refuses a home that was never set up, that is another user's or that others can reach.
func (c config) ready() error {
	ok, err := c.isSetUp()
	if err != nil {
		return err
	}
	if !ok {
		return c.errNotSetUp()
	}
	if c.keepsNothing() {
		return homeDir(c.Home)
	}
	return cmp.Or(c.checkFolders()...)
}

// checkFolders sees that the home and its folders are as setUp makes them; nil stands for each that is. A restored vault
// may do without a ledger.
func (c config) checkFolders() []error {
	dirs := c.dataDirs()
	for _, dir := range c.ledgerDirs() {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			dirs = append(dirs, dir)
		}
	}
	for _, of := range c.tenants() {
		if of.Keys.Provider == providerLocal {
			dirs = append(dirs, of.keyringDir(), of.keysDir())
		}
	}
	var errs []error
	if _, err := os.Stat(c.Home); !c.keepsNothing() || !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, checkHome(c.Home))
	}
	for _, dir := range dirs {
		errs = append(errs, checkPrivate(dir))
	}
	return errs
}

// setUp makes the folders and, for the local provider, each tenant's keyring. It may be repeated: it replaces nothing.
func setUp(c config) error {
	if err := homeDir(c.Home); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	for _, dir := range append(c.dataDirs(), c.ledgerDirs()...) {
		if err := privateDir(dir); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	for _, of := range c.tenants() {
		if of.Keys.Provider != providerLocal {
			continue
		}
		if err := setUpKeyring(of); err != nil {
			return ofTenant(c, of, fmt.Errorf("set up the keyring: %w", err))
		}
	}
	return nil
}

// homeDir makes the home, or sees that nobody else may write into the one that is there. Others may look at its folders'
// names; what is in them is private.
func homeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return checkHome(dir)
}

func checkHome(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := checkOwner(dir, info); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return hinted(fmt.Errorf("%s has mode %#o: others than its user may write to it", dir, mode), "run chmod go-w %s", dir)
	}
	return nil
}

// privateDir makes a folder for this user alone, or sees that the one that is there is.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return checkPrivate(dir)
}

// checkPrivate refuses what another user has or group or others can reach.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return hinted(fmt.Errorf("%s has mode %#o: others than its user may reach it", path, mode), "run chmod go= %s", path)
	}
	return nil
}

func setUpKeyring(c config) error {
	if err := privateDir(c.keyringDir()); err != nil {
		return err
	}
	if c.Keys.Local.PassphraseFile == "" && c.Keys.Local.KeyFile == "" {
		if err := local.NewKeyFile(c.keyFile()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	unlock, err := c.unlock()
	if err != nil {
		return err
	}
	keys, err := local.Create(c.keysDir(), unlock)
	if errors.Is(err, kms.ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	return keys.Close()
}
