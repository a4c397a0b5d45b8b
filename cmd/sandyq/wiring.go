package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
)

// The key providers of this version.
const (
	providerLocal = "local"
	providerVault = "vault"
)

// node is what one process runs: the vault of each tenant over one store, with all they are made of.
type node struct {
	Tenants []*tenant // in the configuration's order, the first one first
	Blobs   documents
	Store   engine
	Place   string // where the store lies

	rows  store.Store // the store and the documents as the tenants use them: what looks on is in between
	blobs blob.Store

	names       []string     // of the tenants, of those too that are not open yet
	maintenance *maintenance // of a store that looks after its files itself
	issuers     *authn.Issuers
}

// openNode builds the vaults of a configuration, in a home that was set up. Whoever calls it closes them. It is the one
// place where the parts meet.
func openNode(ctx context.Context, c config, log *slog.Logger, reg *metrics.Registry) (_ *node, err error) {
	if err := c.checkRules(); err != nil { // before anything is opened
		return nil, err
	}
	n, err := openParts(ctx, c, log, reg)
	if err != nil {
		return nil, err
	}
	if err := n.openTenants(ctx, c, log, reg); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// checkRules reads what each tenant's configuration names, and keeps nothing of it.
func (c config) checkRules() error {
	for _, of := range c.tenants() {
		if _, _, _, err := of.rules(); err != nil {
			return ofTenant(c, of, err)
		}
	}
	return nil
}

// openTenants builds the vaults over the parts, and begins to look after the store. Whoever calls it closes the node, also after an error.
func (n *node) openTenants(ctx context.Context, c config, log *slog.Logger, reg *metrics.Registry) (err error) {
	var certificates *authn.Certificates
	if n.issuers, certificates, err = c.authenticators(log); err != nil {
		return err
	}
	for _, of := range c.tenants() {
		n.names = append(n.names, of.Tenant)
	}
	for _, of := range c.tenants() {
		who := identities{tenant: of.Tenant, issuers: n.issuers, certificates: certificates}
		if err := n.openTenant(ctx, of, who, log, reg); err != nil {
			return ofTenant(c, of, err)
		}
	}
	if files, ok := n.Store.(*badgerdb.Store); ok {
		n.maintenance = startMaintenance(ctx, files, log, maintainFirst, maintainEvery)
	}
	return nil
}

// openParts opens what all tenants share. Whoever calls it closes it.
func openParts(ctx context.Context, c config, log *slog.Logger, reg *metrics.Registry) (_ *node, err error) {
	n := &node{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.Store, err = openEngine(ctx, c, log, reg); err != nil {
		return nil, err
	}
	if n.Place, err = n.Store.Place(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if n.Blobs, err = openDocuments(ctx, c); err != nil {
		return nil, err
	}
	n.rows, n.blobs = n.Store, n.Blobs
	return n, nil
}

// keyringObserver counts what the keyring does and tells the log what troubles it.
type keyringObserver struct {
	*metrics.Registry
	log *slog.Logger
}

// Trouble implements keyring.Observer.
func (o keyringObserver) Trouble(err error) {
	o.Registry.Trouble(err)
	o.log.Warn("the keyring is in trouble and goes on", "error", err)
}

// openKeys opens the provider that the configuration names.
func openKeys(c config) (kms.Provider, error) {
	if c.Keys.Provider == providerVault {
		keys, err := hashicorp.Open(c.hashicorp())
		if err != nil {
			return nil, fmt.Errorf("keys.vault: %w", err)
		}
		return keys, nil
	}
	unlock, err := c.unlock()
	if err != nil {
		return nil, err
	}
	keys, err := local.Open(c.keysDir(), unlock)
	if err != nil {
		return nil, fmt.Errorf("keys.local: %w", err)
	}
	return keys, nil
}

// hashicorp is the configuration of the provider, in its own words.
func (c config) hashicorp() hashicorp.Config {
	v := c.Keys.Vault
	return hashicorp.Config{
		Address: v.Address, Addresses: v.Addresses, CAFile: v.CAFile, TLSServerName: v.TLSServerName, Namespace: v.Namespace,
		Mount: v.Mount, Tenant: c.Tenant, Timeout: v.Timeout, Auth: v.Auth, EraseAuth: v.EraseAuth,
	}
}

// foreign hints at what to do when the keys belong to another store.
func foreign(err error) error {
	if !errors.Is(err, vault.ErrForeignKeys) {
		return err
	}
	return hinted(err, "the store is new and the keys are in use: restore the store that belongs to them, or set up with keys of its own")
}

// notLive is why a store of this standing is not the live one, and what to do about it; nil when nothing says so.
func notLive(s vault.Standing) error {
	switch s {
	case vault.StandingSuperseded:
		return hinted(errSuperseded, "use that one; if it is gone for good, make this one live with `sandyq promote`")
	case vault.StandingCopy:
		return hinted(errCopy, "if it is to replace the one that was live, stop that for good and run `sandyq promote`")
	}
	return nil
}

// The ways in which a store is not the live one.
var (
	errCopy       = errors.New("this store is a copy, not the live vault: it can be read and nothing else")
	errSuperseded = errors.New("another store is the live one for these keys: this one does nothing")
)

// Close closes the parts in their order. Calls in flight must have ended.
func (n *node) Close() error {
	errs := []error{n.closeTenants()}
	if n.Blobs != nil {
		errs = append(errs, n.Blobs.Close())
	}
	if n.Store != nil {
		errs = append(errs, n.Store.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the vault: %w", err)
	}
	return nil
}

// closeTenants closes all but the parts that the tenants share.
func (n *node) closeTenants() error {
	var errs []error
	if n.maintenance != nil {
		n.maintenance.Close()
	}
	for _, t := range n.Tenants {
		errs = append(errs, t.Close())
	}
	if n.issuers != nil {
		n.issuers.Close()
	}
	n.maintenance, n.Tenants, n.issuers, n.names = nil, nil, nil, nil
	return errors.Join(errs...)
}
