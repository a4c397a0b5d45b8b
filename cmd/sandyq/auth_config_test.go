package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/access/authn"
)

// TestExampleOfAuth: the documented configuration names every key of an issuer, too, and can be used.
func TestExampleOfAuth(t *testing.T) {
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var tree struct {
		Auth struct {
			Issuers      []map[string]any `yaml:"issuers"`
			Certificates map[string]any   `yaml:"certificates"`
		} `yaml:"auth"`
	}
	if err := yaml.Load(b, &tree); err != nil {
		t.Fatal(err)
	}
	for _, issuer := range tree.Auth.Issuers {
		missing(t, reflect.TypeFor[authn.IssuerConfig](), issuer, "auth.issuers.")
	}
	missing(t, reflect.TypeFor[authn.CertificatesConfig](), tree.Auth.Certificates, "auth.certificates.")
	c, err := parseConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	c.Auth.Issuers[0].CAFile = "" // no file of this machine
	issuers, certificates, err := c.authenticators(slog.New(slog.DiscardHandler))
	if err != nil || certificates == nil {
		t.Fatalf("%v %v", certificates, err)
	}
	issuers.Close()
}

// TestAuthLeftOut: without the section there are no certificates, and no issuer.
func TestAuthLeftOut(t *testing.T) {
	issuers, certificates, err := defaultConfig().authenticators(slog.New(slog.DiscardHandler))
	if err != nil || issuers == nil || certificates != nil {
		t.Errorf("%v %v %v", issuers, certificates, err)
	}
}

func TestAuthRefusals(t *testing.T) {
	const issuer = "name: a, url: 'https://id', audience: sandyq"
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "auth: {issuers: [{nam: a}]}", "unknown key nam"},
		{"no kind", "auth: {issuers: [{" + issuer + "}]}", "auth.issuers: issuer 1 (a): kind"},
		{"in the clear", "auth: {issuers: [{name: a, url: 'http://id', audience: sandyq, kind: system}]}", "auth.issuers: issuer 1 (a): url"},
		{"twice", "auth: {issuers: [{" + issuer + ", kind: system}, {" + issuer + ", kind: system}]}", "auth.issuers: issuer 2 (a): another"},
		{"certificates without authorities", "auth: {certificates: {dns_suffix: .x}}", "auth.certificates: needs tls.client_ca_file"},
		{"certificates of nobody", "auth: {certificates: {revoked_file: x}}", "auth.certificates: needs uri_prefix"},
		{"client certificates", "tls: {client_certificates: maybe}", "tls.client_certificates: is optional or required"},
		{"required of nobody", "tls: {client_certificates: required}", "tls.client_certificates: needs client_ca_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parsed, err := parseConfig([]byte(c.yaml))
			if err == nil {
				err = parsed.check()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.yaml, err, c.want)
			}
		})
	}
}

// TestAuthPaths: files of the section are taken from the folder of the configuration, and tenants left out are its own.
func TestAuthPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sandyq.yaml")
	text := `tenant: acme
tls: {cert_file: a, key_file: b, client_ca_file: c}
auth:
  issuers: [{name: a, url: "https://id", audience: sandyq, kind: system, ca_file: ca.pem}]
  certificates: {dns_suffix: .x, revoked_file: revoked}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := (&configFlags{file: file}).load()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Auth.Issuers[0].CAFile; got != filepath.Join(dir, "ca.pem") {
		t.Error(got)
	}
	if got := c.Auth.Certificates.RevokedFile; got != filepath.Join(dir, "revoked") {
		t.Error(got)
	}
	if _, _, err := c.authenticators(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "auth.issuers: issuer a: ca_file") {
		t.Errorf("authorities that are not there: %v", err)
	}
}
