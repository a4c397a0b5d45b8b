package main

import (
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
)

// backupsConfig says what may become of backups. A backup holds the rows of every tenant, so with several of them it is
// encrypted to these recipients or not at all.
type backupsConfig struct {
	Recipients []string      `yaml:"recipients"` // age1…; given, backups are encrypted to some of these and to nobody else
	MaxTime    time.Duration `yaml:"max_time"`   // how long one may take
}

// check refuses what could not work.
func (b backupsConfig) check() error {
	if b.MaxTime < 0 {
		return settingError{"backups.max_time", "is a duration, such as 6h"}
	}
	if len(b.Recipients) == 0 {
		return nil
	}
	if _, err := backup.ParseRecipients(b.Recipients); err != nil {
		return settingError{"backups.recipients", err.Error()}
	}
	return nil
}

// backups is what the tenant of a configuration may do about backups: the first one takes them, of all.
func (n *node) backups(of config) *vault.Backups {
	if of.folder != "" {
		return nil
	}
	b := &vault.Backups{Engine: of.Store.Engine, Tenants: n.names, Recipients: of.Backups.Recipients, Most: of.Backups.MaxTime}
	if len(b.Tenants) > 1 && b.Recipients == nil {
		b.Recipients = []string{} // nobody: the operator of all tenants names them in the file
	}
	return b
}
