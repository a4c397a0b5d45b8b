package main

import (
	"fmt"
	"log/slog"

	"github.com/sandyq/sandyq/vault/audit/anchor"
	"github.com/sandyq/sandyq/vault/webhook"
)

// anchorConfig says where copies of the transparency log's last checkpoint go, beside the one that lies with the erasure ledger.
// They are evidence that is out of the hands of whoever has this machine.
type anchorConfig struct {
	Dir     string        `yaml:"dir"`     // a folder, such as one on another machine; it must be there
	Webhook webhookConfig `yaml:"webhook"` // a receiver
}

// check refuses what cannot work. It looks at no file.
func (a anchorConfig) check() error {
	if w := a.Webhook; w != (webhookConfig{}) && (w.URL == "" || w.SecretFile == "") {
		return settingError{"audit.anchor.webhook", "has a url and a secret_file"}
	}
	return nil
}

// sender makes what tells the receiver; nil when there is none. Whoever gets it closes it.
func (a anchorConfig) sender() (*webhook.Sender, error) {
	if a.Webhook == (webhookConfig{}) {
		return nil, nil
	}
	sender, err := senderTo(a.Webhook)
	if err != nil {
		return nil, fmt.Errorf("audit.anchor.webhook: %w", err)
	}
	return sender, nil
}

// tenantAnchor is the anchor of a tenant's log, with what takes it elsewhere.
type tenantAnchor struct {
	*anchor.Elsewhere
	sender *webhook.Sender // nil: there is no receiver
}

// anchor opens the anchor of the tenant's log.
func (c config) anchor(log *slog.Logger) (*tenantAnchor, error) {
	sender, err := c.Audit.Anchor.sender()
	if err != nil {
		return nil, err
	}
	places := map[string]anchor.Place{}
	if c.Audit.Anchor.Dir != "" {
		places["audit.anchor.dir"] = anchor.InFolder(c.Audit.Anchor.Dir, c.Tenant)
	}
	if sender != nil {
		places["audit.anchor.webhook"] = anchor.Receiver{Tenant: c.Tenant, Sender: sender}
	}
	return &tenantAnchor{anchor.Copy(anchor.InFolder(c.ledgerDir(), c.Tenant), log, places), sender}, nil
}

// Close ends the copying.
func (t *tenantAnchor) Close() {
	t.Elsewhere.Close()
	if t.sender != nil {
		t.sender.Close()
	}
}
