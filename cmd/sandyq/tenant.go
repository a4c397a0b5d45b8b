package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/ledger/s3"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/webhook"
)

// tenant is the vault of one tenant with what is its own. The service works with the others until the end.
type tenant struct {
	Name    string
	Service *vault.Service
	Keys    kms.Provider

	policies *cedar.Directory // when they are the operator's own
	alerts   *webhook.Sender  // when there are receivers of alerts
	observed *metrics.Vault
	anchor   *tenantAnchor
	circle   *witness.Circle // when there are witnesses
}

// openTenant opens the vault of the tenant whose configuration c is, over the parts that all share.
func (n *node) openTenant(ctx context.Context, c config, who identities, log *slog.Logger, reg *metrics.Registry) error {
	fields, purposes, texts, err := c.rules()
	if err != nil {
		return err
	}
	keys, err := openKeys(c)
	if err != nil {
		return err
	}
	t := &tenant{Name: c.Tenant, Keys: reg.Keys(keys, clock.System), observed: reg.Vault()}
	n.Tenants = append(n.Tenants, t) // the node closes it, whatever comes
	decider, err := t.openPolicies(c, fields, log)
	if err != nil {
		return err
	}
	if t.alerts, err = c.Alerts.sender(); err != nil {
		return err
	}
	if t.anchor, err = c.anchor(log); err != nil {
		return err
	}
	if t.circle, err = c.Audit.circle(log, t.observed); err != nil {
		return err
	}
	t.Service, err = vault.Open(ctx, vault.Options{
		Tenant:       c.Tenant,
		Store:        n.rows,
		Place:        n.Place,
		Nodes:        c.nodes(),
		Blobs:        n.blobs,
		Keys:         t.Keys,
		Ledger:       c.ledger(t.Keys, n.rows),
		Anchor:       t.anchor,
		Witnesses:    t.witnesses(),
		Quorum:       c.Audit.Quorum,
		Clock:        clock.System,
		Log:          log,
		Schema:       fields,
		Purposes:     purposes,
		Decider:      decider,
		Compile:      func(files map[string][]byte) (access.Decider, error) { return cedar.Compile(files, decides(fields)) },
		Identities:   who,
		Agents:       who,
		Origin:       c.Audit.Origin,
		Operator:     c.Operator,
		SnapshotDays: c.Keys.snapshotDays(),
		Retention:    c.Audit.Retention,
		Environment:  c.Environment[0],
		Approvals:    c.approvals(),
		Budget:       c.Budgets,
		Messenger:    t.messenger(),
		Backups:      n.backups(c),
		Drills:       c.drills(),
		Consents:     vault.ConsentMode(c.Consents),
		Texts:        texts,
		ProofYears:   c.ProofYears,

		RequireSnapshot:  c.Keys.RequireSnapshot,
		RotateIndexEvery: c.Index.RotateEvery,

		MaxDocument: c.MaxDocument,
		Keyring:     keyring.Options{Observer: keyringObserver{reg, log}, PoolSize: c.Keys.pool()},
		Observer:    t.observed,
	})
	if err != nil {
		return foreign(fmt.Errorf("open the vault: %w", err))
	}
	t.observed.ObserveKeyring(t.Service.Keyring)
	return nil
}

// ledger opens the tenant's erasure ledger, which the keys of its log sign, and those signed that its rows were moved from.
func (c config) ledger(keys kms.Signer, rows store.Store) vault.OpenLedger {
	return func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
		former, err := vault.FormerSigners(ctx, rows, c.Tenant)
		if err != nil {
			return nil, err
		}
		o, err := ledger.Options{Tenant: c.Tenant, Former: former, Clock: clock.System}.SignedBy(ctx, keys)
		if err != nil {
			return nil, err
		}
		if !c.Ledger.S3.used() {
			return file.For(ctx, use, c.ledgerDir(), o)
		}
		in, err := c.Ledger.S3.open()
		if err != nil {
			return nil, err
		}
		return s3.For(ctx, use, in, o)
	}
}

// decides is what policies decide by beside themselves.
func decides(fields *schema.Schema) cedar.Options {
	return cedar.Options{Category: fields.CategoryOf, Now: clock.System}
}

// openPolicies reads what decides who may do what.
func (t *tenant) openPolicies(c config, fields *schema.Schema, log *slog.Logger) (access.Decider, error) {
	o := decides(fields)
	switch {
	case c.dev:
		return cedar.Development(o), nil
	case c.Policies == "":
		return cedar.Default(o), nil
	}
	own, err := cedar.OpenDirectory(c.Policies, o, log)
	if err != nil {
		return nil, hinted(fmt.Errorf("policies: %w", err), "try `sandyq policy check %s`", c.Policies)
	}
	t.policies = own
	return own, nil
}

// Close closes what is the tenant's own.
func (t *tenant) Close() error {
	if t.Service != nil {
		t.Service.Close()
	}
	if t.anchor != nil {
		t.anchor.Close()
	}
	if t.circle != nil {
		t.circle.Close()
	}
	if t.policies != nil {
		t.policies.Close()
	}
	if t.alerts != nil {
		t.alerts.Close()
	}
	t.observed.Close()
	return t.Keys.Close()
}

// witnesses cosign the log; nil when there are none.
func (t *tenant) witnesses() translog.Witnesses {
	if t.circle == nil {
		return nil
	}
	return t.circle
}

// messenger tells the receivers of alerts; nil when there are none.
func (t *tenant) messenger() vault.Messenger {
	if t.alerts == nil {
		return nil
	}
	return t.alerts
}

// standing says what the store is to the tenant's keys: nil when it is the live one, for all that is known.
func (t *tenant) standing(ctx context.Context) error {
	for _, degraded := range t.Service.Ready(ctx).Degraded {
		if err := notLive(vault.Standing(degraded)); err != nil {
			return err
		}
	}
	return nil
}

// fit refuses to set up what has no keys or is not the live vault.
func (t *tenant) fit(ctx context.Context) error {
	if slices.Contains(t.Service.Ready(ctx).Degraded, "keys") {
		return hinted(errors.New("the key provider cannot be reached"), "run `sandyq doctor`")
	}
	return t.standing(ctx)
}

// operator is who calls when the command at the machine does.
func (t *tenant) operator() vault.Call {
	return vault.Call{Principal: access.Principal{Tenant: t.Name, System: "sandyq", Roles: []access.Role{access.Administrator}}}
}

// first is the tenant at the top of the configuration, which --dev and the demo use.
func (n *node) first() *tenant { return n.Tenants[0] }

// chosen are the tenants of a command: the one that is named, or all.
func (n *node) chosen(name string) ([]*tenant, error) {
	if name == "" {
		return n.Tenants, nil
	}
	for _, t := range n.Tenants {
		if t.Name == name {
			return []*tenant{t}, nil
		}
	}
	return nil, usagef("there is no tenant %q in the configuration", name)
}

// services are what the API serves.
func (n *node) services() []httpapi.Service {
	all := make([]httpapi.Service, len(n.Tenants))
	for i, t := range n.Tenants {
		all[i] = t.Service
	}
	return all
}

// Ready reports what all tenants' vaults can do: ready when each is, and short of what any is short of. Load balancers send
// requests here or elsewhere without knowing whose they are.
func (n *node) Ready(ctx context.Context) api.Readiness {
	all := api.Readiness{Ready: true}
	for _, t := range n.Tenants {
		one := t.Service.Ready(ctx)
		all.Ready = all.Ready && one.Ready
		for _, d := range one.Degraded {
			if !slices.Contains(all.Degraded, d) {
				all.Degraded = append(all.Degraded, d)
			}
		}
	}
	return all
}

// standing says why what is open is not the live vault of every tenant; nil when it is, for all that is known.
func (n *node) standing(ctx context.Context) error {
	var errs []error
	for _, t := range n.Tenants {
		if err := t.standing(ctx); err != nil {
			errs = append(errs, n.of(t, err))
		}
	}
	return errors.Join(errs...)
}

// of says of which tenant an error is, where there are several.
func (n *node) of(t *tenant, err error) error {
	if err == nil || len(n.Tenants) == 1 {
		return err
	}
	return fmt.Errorf("tenant %s: %w", t.Name, err)
}

// ofTenant says of which tenant of a configuration an error is, where there are several.
func ofTenant(c, of config, err error) error {
	if err == nil || len(c.Tenants) == 0 {
		return err
	}
	return fmt.Errorf("tenant %s: %w", of.Tenant, err)
}
