package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/vault"
)

// tenantConfig is what each tenant has of its own. The first tenant's stands at the top of the file, those of further ones
// in the list of tenants: a key that is added here is understood, checked and resolved in both places.
type tenantConfig struct {
	// Environment is the letter, a to z, that every token carries after sdq_: p for production, by convention.
	Environment string     `yaml:"environment"`
	Keys        keysConfig `yaml:"keys"`
	// Operator is the name that certificates of erasure show: the operator's, as people know it.
	Operator string `yaml:"operator"`
	// Policies is a folder of *.cedar files, read again when it changes; empty takes the built-in ones.
	Policies string `yaml:"policies"`
	// Schema and Purposes are files of fields and purposes; empty takes the built-in ones.
	Schema   string `yaml:"schema"`
	Purposes string `yaml:"purposes"`
	// Consents is observe or enforce: what becomes of a use that rests on a consent of which there is no record.
	Consents string `yaml:"consents"`
	// ConsentTexts is a folder of *.yaml files with what people consent to, beside the built-in texts; empty: those alone.
	ConsentTexts string `yaml:"consent_texts"`
	// ProofYears is how long the proof of a consent is kept after the consent's end.
	ProofYears int `yaml:"consents_proof_years"`
	// Approvals says what needs the word of others.
	Approvals approvalsConfig `yaml:"approvals"`
	// Budgets bound what is read and searched. Without limits it is the built-in ones.
	Budgets budget.Config `yaml:"budgets"`
	// Alerts says who is told of alerts.
	Alerts alertsConfig `yaml:"alerts"`
	// Index says how often the search index goes over to a new epoch.
	Index indexConfig `yaml:"index"`
	// Drill says how often it is shown that no backup brings back who was erased.
	Drill drillConfig `yaml:"drill"`
}

// indexConfig is about the search index.
type indexConfig struct {
	// RotateEvery is how long an epoch lasts; 0: until it is rotated by hand.
	RotateEvery time.Duration `yaml:"rotate_every"`
}

// How long an epoch of the search index lasts.
const (
	defaultIndexEpoch = 30 * 24 * time.Hour
	minIndexEpoch     = time.Hour
)

// How long proofs of consent are kept, in years.
const (
	defaultProofYears = 5
	maxProofYears     = 100
)

// defaultTenant is what a tenant has that says nothing of its own.
func defaultTenant() tenantConfig {
	return tenantConfig{
		Environment: "p",
		Keys:        keysConfig{Provider: providerLocal, Vault: vaultConfig{Mount: hashicorp.DefaultMount, Timeout: hashicorp.DefaultTimeout, SnapshotDays: defaultSnapshotDays}},
		Approvals:   defaultApprovals(),
		Budgets:     budget.Config{Mode: budget.Observe},
		Consents:    string(vault.ConsentsObserved),
		ProofYears:  defaultProofYears,
		Index:       indexConfig{RotateEvery: defaultIndexEpoch},
		Drill:       drillConfig{Every: defaultDrillEvery},
	}
}

// check refuses what cannot work. It looks at no file.
func (t tenantConfig) check() error {
	if !environmentName.MatchString(t.Environment) {
		return settingError{"environment", "is one letter, a to z"}
	}
	if t.Consents != string(vault.ConsentsObserved) && t.Consents != string(vault.ConsentsEnforced) {
		return settingError{"consents", "is observe or enforce"}
	}
	if t.ProofYears < 1 || t.ProofYears > maxProofYears {
		return settingError{"consents_proof_years", fmt.Sprintf("is 1 to %d", maxProofYears)}
	}
	if every := t.Index.RotateEvery; every != 0 && every < minIndexEpoch {
		return settingError{"index.rotate_every", fmt.Sprintf("is 0 or at least %s", minIndexEpoch)}
	}
	if err := t.Drill.check(); err != nil {
		return err
	}
	if err := t.Approvals.check(); err != nil {
		return err
	}
	if err := checkBudgets(t.Budgets); err != nil {
		return err
	}
	if err := t.Alerts.check(); err != nil {
		return err
	}
	return t.Keys.check()
}

// paths are the settings that name files and folders.
func (t *tenantConfig) paths() []*string {
	k := &t.Keys
	paths := []*string{
		&t.Schema, &t.Purposes, &t.Policies, &t.ConsentTexts,
		&k.Local.Dir, &k.Local.PassphraseFile, &k.Local.KeyFile, &k.Vault.CAFile,
	}
	paths = append(paths, k.Vault.Auth.Files()...)
	if a := k.Vault.EraseAuth; a != nil {
		paths = append(paths, a.Files()...)
	}
	return append(paths, t.Alerts.paths()...)
}

// furtherTenant is a tenant of the list.
type furtherTenant struct {
	Name         string `yaml:"name"` // as the key tenant is of the first
	tenantConfig `yaml:",inline"`
}

// UnmarshalYAML reads a tenant over the defaults, as strictly as the rest: neither comes down to the items of a list.
func (t *furtherTenant) UnmarshalYAML(node *yaml.Node) error {
	type plain furtherTenant
	t.tenantConfig = defaultTenant()
	return node.Load((*plain)(t), yaml.WithKnownFields(), yaml.WithUniqueKeys())
}

// tenants are the configuration as each tenant has it, the first one first: what is a tenant's own is that tenant's, and
// there are no others.
func (c config) tenants() []config {
	all := make([]config, 0, 1+len(c.Tenants))
	further := c.Tenants
	c.Tenants = nil
	all = append(all, c)
	for _, t := range further {
		of := c
		of.Tenant, of.tenantConfig, of.folder = t.Name, t.tenantConfig, filepath.Join("tenants", t.Name)
		all = append(all, of)
	}
	return all
}

// tenant is the configuration as one tenant has it; the first one's when no name is given.
func (c config) tenant(name string) (config, error) {
	for _, of := range c.tenants() {
		if of.Tenant == name || name == "" {
			return of, nil
		}
	}
	return config{}, usagef("there is no tenant %q in the configuration", name)
}

// checkTenants sees that every tenant's own works, and that no two have the same name or keys.
func (c config) checkTenants() error {
	all := c.tenants()
	for i, of := range all {
		if !tenantName.MatchString(of.Tenant) {
			return settingError{nameKey(i), "is 1 to 40 of a-z, 0-9 and -"}
		}
		if err := of.tenantConfig.check(); err != nil {
			return inTenant(i, of.Tenant, err)
		}
		for _, other := range all[:i] {
			if other.Tenant == of.Tenant {
				return settingError{nameKey(i), of.Tenant + " is there twice; names are unique"}
			}
			if err := of.apart(other); err != nil {
				return inTenant(i, of.Tenant, err)
			}
		}
	}
	return c.checkPrincipals()
}

// nameKey is the key that names the tenant at place i.
func nameKey(i int) string {
	if i == 0 {
		return "tenant"
	}
	return "tenants.name"
}

func inTenant(i int, name string, err error) error {
	if i == 0 {
		return err
	}
	return fmt.Errorf("tenants: %s: %w", name, err)
}

// apart refuses keys that are another tenant's, too, or that lie in one place with them: whoever gets hold of the keys of
// one must have nothing of the other's.
func (c config) apart(other config) error {
	if c.Keys.Provider != other.Keys.Provider {
		return nil
	}
	also := "is " + other.Tenant + "'s, too; each tenant has its own"
	if c.Keys.Provider == providerVault {
		if mountsMeet(c.Keys.Vault.Mount, other.Keys.Vault.Mount) {
			return settingError{"keys.vault.mount", also}
		}
		return nil
	}
	if within(c.keyringDir(), other.keyringDir()) || within(other.keyringDir(), c.keyringDir()) {
		return settingError{"keys.local.dir", also}
	}
	mine, others := c.Keys.Local, other.Keys.Local
	if mine.PassphraseFile != "" && mine.PassphraseFile == others.PassphraseFile {
		return settingError{"keys.local.passphrase_file", also}
	}
	if mine.KeyFile != "" && mine.KeyFile == others.KeyFile {
		return settingError{"keys.local.key_file", also}
	}
	return nil
}

// mountsMeet reports whether two mounts, or the two that lie beside each, are one. Mounts of different servers and
// namespaces differ in name, too: a name is then enough to tell whose keys they are.
func mountsMeet(a, b string) bool {
	for _, beside := range []string{"", "-transit", "-generation"} {
		if a == b+beside || b == a+beside {
			return true
		}
	}
	return false
}

// within reports whether a path is a folder or lies in it.
func within(path, folder string) bool {
	path, folder = filepath.Clean(path), filepath.Clean(folder)
	return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}

// checkPrincipals sees that issuers and certificates name tenants that there are.
func (c config) checkPrincipals() error {
	known := map[string]bool{"": true} // the first one's
	for _, of := range c.tenants() {
		known[of.Tenant] = true
	}
	for _, issuer := range c.Auth.Issuers {
		if !known[issuer.Tenant] {
			return settingError{"auth.issuers", issuer.Name + ": tenant " + issuer.Tenant + " is not among the tenants"}
		}
	}
	if t := c.Auth.Certificates.Tenant; !known[t] {
		return settingError{"auth.certificates.tenant", t + " is not among the tenants"}
	}
	return nil
}
