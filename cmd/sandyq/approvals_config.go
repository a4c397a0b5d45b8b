package main

import (
	"fmt"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
)

// approvalsConfig says what needs the word of others: four eyes, or more.
type approvalsConfig struct {
	Erasure             approvalConfig `yaml:"erasure"`
	PurposeChange       approvalConfig `yaml:"purpose_change"`  // a purpose made, changed or ended
	PoliciesChange      approvalConfig `yaml:"policies_change"` // the policies that are put over the API
	ConfigurationChange approvalConfig `yaml:"configuration_change"`
	BreakGlass          approvalConfig `yaml:"break_glass"` // the review, afterwards
}

type approvalConfig struct {
	Needed int `yaml:"needed"` // how many others, 0 to 10
	// Roles are those of which an approver has one; empty: any that a policy lets approve.
	Roles []access.Role `yaml:"roles"`
	// Expires is how long it waits before it is cancelled. A review waits for ever.
	Expires time.Duration `yaml:"expires"`
}

// maxApprovals is how many others may be needed.
const maxApprovals = 10

// defaultApprovals is what the vault itself has by default, as settings.
func defaultApprovals() approvalsConfig {
	of := vault.DefaultApprovals()
	setting := func(name string) approvalConfig {
		return approvalConfig{Needed: of[name].Needed, Roles: of[name].Roles, Expires: of[name].Life}
	}
	return approvalsConfig{
		Erasure: setting(vault.ApproveErasure), PurposeChange: setting(vault.ApprovePurpose),
		PoliciesChange: setting(vault.ApprovePolicies), ConfigurationChange: setting(vault.ApproveConfig), BreakGlass: setting(vault.ReviewBreakGlass),
	}
}

// named lists the settings by the vault's names, which are the keys' too.
func (c approvalsConfig) named() map[string]approvalConfig {
	return map[string]approvalConfig{
		vault.ApproveErasure: c.Erasure, vault.ApprovePurpose: c.PurposeChange,
		vault.ApprovePolicies: c.PoliciesChange, vault.ApproveConfig: c.ConfigurationChange, vault.ReviewBreakGlass: c.BreakGlass,
	}
}

func (c approvalsConfig) check() error {
	for name, a := range c.named() {
		key := "approvals." + name
		switch {
		case a.Needed < 0 || a.Needed > maxApprovals:
			return settingError{key + ".needed", fmt.Sprintf("is 0 to %d", maxApprovals)}
		case a.Expires <= 0:
			return settingError{key + ".expires", "is a duration above 0, such as 336h"}
		}
		for _, r := range a.Roles {
			if _, err := access.ParseRole(string(r)); err != nil || r == access.Application {
				return settingError{key + ".roles", "names roles of staff; see docs/policies.md"}
			}
		}
	}
	return nil
}

// approvals is what the vault is told. With --dev one credential tries everything, so nobody else is waited for.
func (c config) approvals() map[string]vault.Approval {
	all := make(map[string]vault.Approval)
	for name, a := range c.Approvals.named() {
		all[name] = vault.Approval{Needed: a.Needed, Roles: a.Roles, Life: a.Expires}
	}
	if c.dev {
		for _, name := range []string{vault.ApproveErasure, vault.ApprovePurpose, vault.ApprovePolicies, vault.ApproveConfig} {
			delete(all, name)
		}
	}
	return all
}
