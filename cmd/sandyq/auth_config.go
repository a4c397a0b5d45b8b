package main

import (
	"fmt"
	"log/slog"

	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/clock"
)

// authConfig says who is believed beside the vault's own service tokens.
type authConfig struct {
	// Issuers sign bearer tokens of staff and systems. Their tenant is the configuration's own unless they name one.
	Issuers []authn.IssuerConfig `yaml:"issuers"`
	// Certificates says which systems client certificates are. It takes tls.client_ca_file.
	Certificates authn.CertificatesConfig `yaml:"certificates"`
}

// check refuses what cannot work. It looks at no file.
func (a authConfig) check(t tlsConfig) error {
	if err := authn.CheckIssuers(a.Issuers); err != nil {
		return settingError{"auth.issuers", err.Error()}
	}
	if a.Certificates.IsZero() {
		return nil
	}
	if err := a.Certificates.Check(); err != nil {
		return settingError{"auth.certificates", err.Error()}
	}
	if t.ClientCAFile == "" {
		return settingError{"auth.certificates", "needs tls.client_ca_file, which says whose certificates are believed"}
	}
	return nil
}

// paths are the settings that name files.
func (a *authConfig) paths() []*string {
	paths := []*string{&a.Certificates.RevokedFile}
	for i := range a.Issuers {
		paths = append(paths, &a.Issuers[i].CAFile)
	}
	return paths
}

// authenticators makes what verifies bearer tokens and client certificates; the latter are nil when no certificate is a
// system. It asks nobody. Whoever calls it closes the issuers.
func (c config) authenticators(log *slog.Logger) (*authn.Issuers, *authn.Certificates, error) {
	o := authn.Options{Now: clock.System, Log: log}
	configs := make([]authn.IssuerConfig, len(c.Auth.Issuers))
	for i, issuer := range c.Auth.Issuers {
		issuer.Tenant = or(issuer.Tenant, c.Tenant)
		configs[i] = issuer
	}
	issuers, err := authn.NewIssuers(configs, o)
	if err != nil {
		return nil, nil, fmt.Errorf("auth.issuers: %w", err)
	}
	if c.Auth.Certificates.IsZero() {
		return issuers, nil, nil
	}
	mapped := c.Auth.Certificates
	mapped.Tenant = or(mapped.Tenant, c.Tenant)
	certificates, err := authn.NewCertificates(mapped, o)
	if err != nil {
		issuers.Close()
		return nil, nil, fmt.Errorf("auth: %w", err)
	}
	return issuers, certificates, nil
}
