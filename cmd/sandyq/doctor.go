package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

func newDoctorCmd(e *env) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that a vault can be served, and say what to do where not",
		Long: `Doctor checks, while no server runs: the configuration, who can reach the files, the key provider, whether the store is
the live one for its keys, free space, the clock and the process's own protection. It opens the store and asks the keys,
as serve does, and changes nothing that they say of each other. It exits with 1 when something is wrong.`,
		Example: `  sandyq doctor --config /etc/sandyq/sandyq.yaml
  sandyq doctor --home ./sandyq --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := examine(cmd.Context(), e, flags)
			return errors.Join(e.answer(found, found.text), found.err())
		},
	}
	flags.bind(cmd.Flags())
	return cmd
}

// examine makes all checks that make sense after those before.
func examine(ctx context.Context, e *env, flags configFlags) (found findings) {
	c, err := flags.load()
	if err == nil {
		_, _, err = c.rules()
	}
	if err == nil {
		_, err = c.serverTLS(e.log(c))
	}
	found.judge("configuration", err, "every setting is understood", "see deploy/sandyq.example.yaml")
	if err != nil {
		return found
	}
	c.Log.Level = slog.LevelError // what else there is to say stands in the findings
	found.judge("process", e.hardening, "no core dumps, memory closed to other processes", "run on Linux")
	checkClock(&found, c)
	ok, err := c.isSetUp()
	if err == nil && !ok {
		err = c.errNotSetUp()
	}
	found.judge("home", err, c.Home+" is set up", "")
	if err != nil {
		return found
	}
	ours := checkPermissions(&found, c)
	checkPlaces(&found, c)
	checkSpace(&found, c)
	if ours && checkKeys(ctx, &found, c) {
		checkStanding(ctx, &found, e, c)
	}
	return found
}

// checkPermissions sees that folders are Sandyq's alone and secrets are not open to all. It reports whether the folders
// may be opened: files made in those of another user would keep that one out.
func checkPermissions(found *findings, c config) (ours bool) {
	errs := c.checkFolders()
	ours = errors.Join(errs...) == nil
	for _, path := range c.secretFiles() {
		errs = append(errs, checkSecretFile(path))
	}
	found.judgeAll("permissions", errs, "folders and secrets are this user's and closed to others", "")
	return ours
}

// secretFiles are the files that hold secrets, as configured.
func (c config) secretFiles() []string {
	v := c.Keys.Vault
	files := []string{c.TLS.KeyFile, c.Keys.Local.PassphraseFile, v.Auth.SecretIDFile, v.Auth.TokenFile}
	if v.EraseAuth != nil {
		files = append(files, v.EraseAuth.SecretIDFile, v.EraseAuth.TokenFile)
	}
	if c.Keys.Provider == providerLocal && c.Keys.Local.PassphraseFile == "" {
		files = append(files, c.keyFile())
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == "" })
}

// checkPlaces sees that a backup of the data cannot hold the keys by accident.
func checkPlaces(found *findings, c config) {
	var errs []error
	for _, data := range []string{c.storeDir(), c.documentsDir()} {
		for _, apart := range []string{c.keyringDir(), c.ledgerDir()} {
			if data == apart || strings.HasPrefix(apart, data+string(filepath.Separator)) {
				errs = append(errs, fmt.Errorf("%s lies in %s", apart, data))
			}
		}
	}
	found.judgeAll("places", errs, "keys and ledger lie outside store and documents",
		"move it with keys.local.dir or ledger.path: a backup that holds data and keys undoes erasures")
}

// checkKeys asks the provider for what serving needs of it, and reports whether it answered.
func checkKeys(ctx context.Context, found *findings, c config) bool {
	err := askKeys(ctx, c)
	toDo := "see that the keyring's folder and its passphrase or key file are in place"
	if c.Keys.Provider == providerVault {
		toDo = "see that HashiCorp Vault is up and unsealed, that keys.vault is right, and that `sandyq keys setup` was run"
	}
	found.judge("keys", err, "the provider "+c.Keys.Provider+" answers", toDo)
	return err == nil
}

func askKeys(ctx context.Context, c config) (err error) {
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if _, err := keys.Sentinel(ctx); err != nil {
		return fmt.Errorf("read the sentinel: %w", err)
	}
	if _, err := keys.Generation(ctx); err != nil {
		return fmt.Errorf("read the generation: %w", err)
	}
	probe := sha256.Sum256([]byte("sandyq doctor")) // nobody's value
	if _, err := keys.MAC(ctx, probe[:]); err != nil {
		return fmt.Errorf("compute a MAC: %w", err)
	}
	return nil
}

// checkStanding opens what the vault is made of and sees what the store is to its keys. It does not start the vault: that
// would make a cloned disk's store the live one.
func checkStanding(ctx context.Context, found *findings, e *env, c config) {
	n, err := openParts(c, e.log(c), newMetrics())
	if errors.Is(err, badgerdb.ErrDamaged) {
		found.add("store", wrong, err.Error(), "restore the store from a backup, then `sandyq promote`")
		return
	}
	if err != nil {
		found.judge("store", err, "", "see docs/operations.md")
		return
	}
	standing, err := vault.StandingOf(ctx, c.Tenant, n.Store, n.Place, n.Keys)
	toDo := "run `sandyq doctor` again: the keys went out of reach meanwhile"
	switch {
	case errors.Is(err, kms.ErrClaim):
		toDo = "these are not the keys that the store was set up with: name the right ones"
	case err == nil:
		err = notLive(standing)
	}
	if err != nil {
		err = foreign(err)
	}
	found.judge("standing", err, "the store is the live one for its keys", toDo)
	found.judge("store", n.Close(), "opens and closes", "")
}
