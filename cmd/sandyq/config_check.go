package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
)

// settingError is a setting that breaks a rule: which, and what the rule is.
type settingError struct{ key, rule string }

func (e settingError) Error() string { return e.key + ": " + e.rule }

var (
	tenantName      = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	logOrigin       = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9./-]{0,99}$`)
	environmentName = regexp.MustCompile(`^[a-z]$`)
)

// check refuses a configuration that cannot work, or that promises what this version does not keep. It looks at no file.
func (c config) check() error {
	rules := []struct {
		broken    bool
		key, rule string
	}{
		{c.Home == "", "home", "is the folder of everything and may not be empty"},
		{c.MaxDocument < 1 || c.MaxDocument > maxMaxDocument, "max_document", fmt.Sprintf("is 1 to %d bytes", int64(maxMaxDocument))},
		{!logOrigin.MatchString(c.Audit.Origin), "audit.origin", "is up to 100 letters, digits, dots, dashes and slashes, such as sandyq.example.kz"},
		{c.Audit.Retention < 0, "audit.retention", "is a duration, such as 43800h for five years, or 0s for none"},
		{c.ShutdownTimeout <= 0, "shutdown_timeout", "is a duration above 0, such as 30s"},
		{c.Log.Level < slog.LevelDebug || c.Log.Level > slog.LevelError, "log.level", "is debug, info, warn or error"},
	}
	for _, r := range rules {
		if r.broken {
			return settingError{r.key, r.rule}
		}
	}
	if err := cmp.Or(c.Audit.Anchor.check(), c.Audit.checkWitnesses()); err != nil {
		return err
	}
	if err := cmp.Or(c.Store.check(), c.Blobs.check(), c.Ledger.check(), c.checkBuckets()); err != nil {
		return err
	}
	if err := c.checkTenants(); err != nil {
		return err
	}
	if err := c.Backups.check(); err != nil {
		return err
	}
	if err := c.checkListeners(); err != nil {
		return err
	}
	return c.Auth.check(c.TLS)
}

// maxMaxDocument bounds max_document, in bytes.
const maxMaxDocument = 4 << 30

func (k keysConfig) check() error {
	l, v := k.Local, k.Vault
	if k.Pool < 0 || k.Pool > maxPool {
		return settingError{"keys.pool", fmt.Sprintf("is 0 to %d keys", maxPool)}
	}
	if k.RequireSnapshot && k.Provider != providerVault {
		return settingError{"keys.require_snapshot", "is for keys.provider vault"}
	}
	switch k.Provider {
	case providerLocal:
		if l.PassphraseFile != "" && l.KeyFile != "" {
			return settingError{"keys.local", "has both passphrase_file and key_file; one of them opens the keyring"}
		}
		if v.Address != "" || len(v.Addresses) > 0 {
			return settingError{"keys.vault", "is configured, but keys.provider is local"}
		}
	case providerVault:
		if l != (localConfig{}) {
			return settingError{"keys.local", "is configured, but keys.provider is vault"}
		}
		if v.Address == "" && len(v.Addresses) == 0 {
			return settingError{"keys.vault.address", "is required when keys.provider is vault, or addresses"}
		}
		if v.Address != "" && len(v.Addresses) > 0 {
			return settingError{"keys.vault", "has both address and addresses; use one of them"}
		}
		if v.Auth.Method == "" {
			return settingError{"keys.vault.auth.method", "is required when keys.provider is vault: approle, kubernetes, jwt, cert or token"}
		}
		if v.SnapshotDays < 1 || v.SnapshotDays > maxSnapshotDays {
			return settingError{"keys.vault.snapshot_days", "is 1 to 36500 days"}
		}
	default:
		return settingError{"keys.provider", "is local or vault"}
	}
	return nil
}

func (c config) checkListeners() error {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return settingError{"tls", "needs cert_file and key_file together"}
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		return settingError{"tls.client_ca_file", "needs cert_file and key_file"}
	}
	if c.TLS.ClientCertificates != certificatesOptional && c.TLS.ClientCertificates != certificatesRequired {
		return settingError{"tls.client_certificates", "is optional or required"}
	}
	if c.TLS.ClientCertificates == certificatesRequired && c.TLS.ClientCAFile == "" {
		return settingError{"tls.client_certificates", "needs client_ca_file to be required"}
	}
	if c.TLS.TerminatedUpstream && c.TLS.CertFile != "" {
		return settingError{"tls", "has both terminated_upstream and cert_file; one of them protects the listener"}
	}
	for _, l := range []struct{ key, address string }{{"listen", c.Listen}, {"ops", c.Ops}} {
		public, err := reachesOut(l.address)
		if err != nil {
			return settingError{l.key, err.Error()}
		}
		if public && c.TLS.CertFile == "" && !c.TLS.TerminatedUpstream {
			return hinted(settingError{l.key, "an address that is not loopback needs TLS"},
				"set tls: {cert_file: …, key_file: …}, or tls: {terminated_upstream: true} behind a proxy on a trusted network")
		}
	}
	return nil
}

// reachesOut reports whether other machines can reach a listener on address. A name other than localhost may resolve to
// anything, so it counts as reachable.
func reachesOut(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return false, errors.New("is HOST:PORT, such as 127.0.0.1:7440")
	}
	if host == "localhost" {
		return false, nil
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback(), nil
}
