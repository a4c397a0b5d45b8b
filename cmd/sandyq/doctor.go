package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"

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
	for _, of := range c.tenants() {
		if err == nil {
			_, _, _, err = of.rules()
			err = ofTenant(c, of, err)
		}
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
	found.judge("alerts", c.checkAlerts(), "their receivers can be told", "see alerts in deploy/sandyq.example.yaml")
	checkSpace(&found, c)
	if ours {
		checkTenants(ctx, &found, e, c)
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
	files := []string{c.TLS.KeyFile, c.Store.Postgres.DSNFile, c.Audit.Anchor.Webhook.SecretFile}
	files = append(files, c.Blobs.S3.secretFiles()...)
	files = append(files, c.Ledger.S3.secretFiles()...)
	files = append(files, c.Audit.Anchor.S3.secretFiles()...)
	for _, of := range c.tenants() {
		v := of.Keys.Vault
		files = append(append(files, of.Keys.Local.PassphraseFile), v.Auth.SecretFiles()...)
		if v.EraseAuth != nil {
			files = append(files, v.EraseAuth.SecretFiles()...)
		}
		files = append(files, of.Alerts.secretFiles()...)
		if of.Keys.Provider == providerLocal && of.Keys.Local.PassphraseFile == "" {
			files = append(files, of.keyFile())
		}
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == "" })
}

// checkPlaces sees that a backup of the data cannot hold the keys by accident.
func checkPlaces(found *findings, c config) {
	var errs []error
	aparts := c.ledgerDirs()
	for _, of := range c.tenants() {
		aparts = append(aparts, of.keyringDir())
	}
	for _, data := range c.dataDirs() {
		for _, apart := range aparts {
			if within(apart, data) {
				errs = append(errs, fmt.Errorf("%s lies in %s", apart, data))
			}
		}
	}
	found.judgeAll("places", errs, "keys and ledger lie outside store and documents",
		"move it with keys.local.dir or ledger.path: a backup that holds data and keys undoes erasures")
}

// checkTenants asks each tenant's keys, and sees what the store is to those that answered. The findings name the tenant
// where there are several.
func checkTenants(ctx context.Context, found *findings, e *env, c config) {
	var answered []config
	for _, of := range c.tenants() {
		if checkKeys(ctx, found, c, of) {
			answered = append(answered, of)
		}
	}
	if len(answered) > 0 {
		checkStanding(ctx, found, e, c, answered)
	}
}

// checkKeys asks the provider of a tenant for what serving needs of it, and reports whether it answered.
func checkKeys(ctx context.Context, found *findings, c, of config) bool {
	err := askKeys(ctx, of)
	toDo := "see that the keyring's folder and its passphrase or key file are in place"
	if of.Keys.Provider == providerVault {
		toDo = "see that HashiCorp Vault is up and unsealed, that keys.vault is right, and that `sandyq keys setup` was run"
	}
	found.judge("keys", ofTenant(c, of, err), "the provider "+of.Keys.Provider+" answers"+forTenant(c, of), toDo)
	return err == nil
}

// forTenant ends what is found to be right with the tenant's name, where there are several.
func forTenant(c, of config) string {
	if len(c.Tenants) == 0 {
		return ""
	}
	return " for tenant " + of.Tenant
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

// checkStanding opens the store and sees what it is to the keys of tenants. It does not start their vaults: that would make
// a cloned disk's store the live one.
func checkStanding(ctx context.Context, found *findings, e *env, c config, tenants []config) {
	n, err := openParts(ctx, c, e.log(c), newMetrics())
	if errors.Is(err, badgerdb.ErrDamaged) {
		found.add("store", wrong, err.Error(), "restore the store from a backup, then `sandyq promote`")
		return
	}
	if err != nil {
		found.judge("store", err, "", "see docs/operations.md")
		return
	}
	for _, of := range tenants {
		err := n.compare(ctx, of)
		toDo := "run `sandyq doctor` again: the keys went out of reach meanwhile"
		if errors.Is(err, kms.ErrClaim) {
			toDo = "these are not the keys that the store was set up with: name the right ones"
		}
		found.judge("standing", ofTenant(c, of, err), "the store is the live one for its keys"+forTenant(c, of), toDo)
		checkApprovers(ctx, found, n.Store, c, of)
	}
	found.judge("store", n.Close(), "opens and closes", "")
}

// compare says why the store is not the live one for the keys of the tenant whose configuration c is.
func (n *node) compare(ctx context.Context, c config) (err error) {
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	standing, err := vault.StandingOf(ctx, c.Tenant, n.Store, n.Place, keys)
	if err != nil {
		return foreign(err)
	}
	return notLive(standing)
}
