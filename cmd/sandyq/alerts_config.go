package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/webhook"
)

// alertsConfig says who is told of alerts, beside the log and the metrics.
type alertsConfig struct {
	Webhooks []webhookConfig `yaml:"webhooks"`
}

// webhookConfig is a receiver over HTTP.
type webhookConfig struct {
	URL        string `yaml:"url"`         // https, or http to this machine's loopback
	SecretFile string `yaml:"secret_file"` // one line of at least 32 bytes, which signs what is sent
	CAFile     string `yaml:"ca_file"`     // PEM; default: the system's
}

// check refuses what cannot work. It looks at no file.
func (c alertsConfig) check() error {
	if len(c.Webhooks) > vault.MaxReceivers {
		return settingError{"alerts.webhooks", fmt.Sprintf("are at most %d", vault.MaxReceivers)}
	}
	for _, w := range c.Webhooks {
		if w.URL == "" || w.SecretFile == "" {
			return settingError{"alerts.webhooks", "have a url and a secret_file each"}
		}
	}
	return nil
}

// paths are the settings that name files.
func (c *alertsConfig) paths() (paths []*string) {
	for i := range c.Webhooks {
		paths = append(paths, &c.Webhooks[i].SecretFile, &c.Webhooks[i].CAFile)
	}
	return paths
}

// secretFiles are the files that hold secrets.
func (c alertsConfig) secretFiles() (files []string) {
	for _, w := range c.Webhooks {
		files = append(files, w.SecretFile)
	}
	return files
}

// sender makes what tells the receivers; nil when there are none. Whoever gets it closes it.
func (c alertsConfig) sender() (*webhook.Sender, error) {
	if len(c.Webhooks) == 0 {
		return nil, nil
	}
	sender, err := senderTo(c.Webhooks...)
	if err != nil {
		return nil, fmt.Errorf("alerts.webhooks: %w", err)
	}
	return sender, nil
}

func senderTo(receivers ...webhookConfig) (*webhook.Sender, error) {
	targets := make([]webhook.Target, len(receivers))
	for i, w := range receivers {
		key, err := readSigningSecret(w.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("secret_file: %w", err)
		}
		targets[i] = webhook.Target{URL: w.URL, Secret: key, CAFile: w.CAFile}
	}
	return webhook.New(targets, webhook.Options{Now: clock.System})
}

// readSigningSecret reads the one line of a file.
func readSigningSecret(path string) (secret.Bytes, error) {
	line, err := readSecretLine(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	if len(line) < webhook.MinSecret {
		return secret.Bytes{}, hinted(fmt.Errorf("the secret in %s is shorter than %d bytes", path, webhook.MinSecret),
			"make one: openssl rand -hex 32 > %s", path)
	}
	return secret.New(line), nil
}

// checkAlerts sees, for doctor, that every tenant's receivers, and that of checkpoints, could be told.
func (c config) checkAlerts() error {
	for _, of := range c.tenants() {
		sender, err := of.Alerts.sender()
		if err != nil {
			return ofTenant(c, of, err)
		}
		if sender != nil {
			sender.Close()
		}
	}
	sender, err := c.Audit.Anchor.sender()
	if sender != nil {
		sender.Close()
	}
	return err
}

// checkBudgets refuses limits that break a rule, by making a meter of them that nothing is spent from.
func checkBudgets(c budget.Config) error {
	_, err := budget.New(budget.Options{Mode: c.Mode, Limits: c.Limits, Ledger: noLedger{}, Now: clock.System})
	if err != nil {
		return settingError{"budgets", err.Error()}
	}
	return nil
}

// noLedger is for a meter that nothing is spent from.
type noLedger struct{}

func (noLedger) Take(context.Context, budget.Account, int64, int64) (int64, error) {
	return 0, errors.New("nothing is spent here")
}
