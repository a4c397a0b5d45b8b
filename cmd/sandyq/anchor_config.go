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
	S3      s3Config      `yaml:"s3"`      // a bucket
	Webhook webhookConfig `yaml:"webhook"` // a receiver
}

// check refuses what cannot work. It looks at no file.
func (a anchorConfig) check() error {
	if w := a.Webhook; w != (webhookConfig{}) && (w.URL == "" || w.SecretFile == "") {
		return settingError{"audit.anchor.webhook", "has a url and a secret_file"}
	}
	if a.S3.used() {
		return a.S3.check("audit.anchor.s3")
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
	closers []func()
}

// anchor opens the anchor of the tenant's log, which lies with the erasure ledger.
func (c config) anchor(log *slog.Logger) (_ *tenantAnchor, err error) {
	t := &tenantAnchor{}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	var main anchor.Anchor = anchor.InFolder(c.ledgerDir(), c.Tenant)
	if c.Ledger.S3.used() {
		if main, err = t.inBucket("ledger.s3", c.Ledger.S3.s3Config, c.Tenant); err != nil {
			return nil, err
		}
	}
	places := map[string]anchor.Place{}
	if c.Audit.Anchor.Dir != "" {
		places["audit.anchor.dir"] = anchor.InFolder(c.Audit.Anchor.Dir, c.Tenant)
	}
	if c.Audit.Anchor.S3.used() {
		if places["audit.anchor.s3"], err = t.inBucket("audit.anchor.s3", c.Audit.Anchor.S3, c.Tenant); err != nil {
			return nil, err
		}
	}
	sender, err := c.Audit.Anchor.sender()
	if err != nil {
		return nil, err
	}
	if sender != nil {
		t.closers = append(t.closers, sender.Close)
		places["audit.anchor.webhook"] = anchor.Receiver{Tenant: c.Tenant, Sender: sender}
	}
	t.Elsewhere = anchor.Copy(main, log, places)
	return t, nil
}

// inBucket is the anchor of a tenant in the bucket of a section of the configuration.
func (t *tenantAnchor) inBucket(section string, c s3Config, tenant string) (*anchor.Object, error) {
	b, err := c.connect()
	if err != nil {
		return nil, fmt.Errorf("%s.%w", section, err)
	}
	t.closers = append(t.closers, b.Close)
	return anchor.InBucket(b, tenant), nil
}

// Close ends the copying.
func (t *tenantAnchor) Close() {
	if t.Elsewhere != nil {
		t.Elsewhere.Close()
	}
	for _, done := range t.closers {
		done()
	}
}
