package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault"
)

func TestTenantRefusals(t *testing.T) {
	const server = "{provider: vault, vault: {address: 'https://v', mount: MOUNT, auth: {method: token, token_file: x}}}"
	mount := func(name string) string { return strings.ReplaceAll(server, "MOUNT", name) }
	for _, c := range []struct{ name, yaml, want string }{
		{"no name", "tenants: [{environment: t}]", "tenants.name: is 1 to 40"},
		{"a bad name", "tenants: [{name: A}]", "tenants.name: is 1 to 40"},
		{"the first one's name", "tenants: [{name: main}]", "tenants.name: main is there twice"},
		{"a name twice", "tenants: [{name: b}, {name: b}]", "tenants.name: b is there twice"},
		{"unknown key", "tenants: [{name: b, listen: x}]", "unknown key listen"},
		{"unknown key inside", "tenants: [{name: b, keys: {local: {passphrase: x}}}]", "unknown key passphrase"},
		{"repeated key", "tenants: [{name: b, name: c}]", "already defined"},
		{"environment", "tenants: [{name: b, environment: prod}]", "tenants: b: environment: is one letter"},
		{"keys", "tenants: [{name: b, keys: {provider: aws}}]", "tenants: b: keys.provider: is local or vault"},
		{"approvals", "tenants: [{name: b, approvals: {erasure: {needed: -1}}}]", "tenants: b: approvals.erasure.needed"},
		{"one folder", "keys: {local: {dir: /k}}\ntenants: [{name: b, keys: {local: {dir: /k}}}]", "tenants: b: keys.local.dir: is main's, too"},
		{"a folder inside", "keys: {local: {dir: /k}}\ntenants: [{name: b, keys: {local: {dir: /k/b}}}]", "keys.local.dir: is main's, too"},
		{"a folder around", "keys: {local: {dir: /k/a}}\ntenants: [{name: b, keys: {local: {dir: /k}}}]", "keys.local.dir: is main's, too"},
		{"one key file", "keys: {local: {key_file: /k}}\ntenants: [{name: b, keys: {local: {key_file: /k}}}]", "keys.local.key_file: is main's, too"},
		{"one passphrase", "tenants: [{name: b, keys: {local: {passphrase_file: /k}}}, {name: c, keys: {local: {passphrase_file: /k}}}]", "tenants: c: keys.local.passphrase_file: is b's, too"},
		{"one mount", "keys: " + mount("m") + "\ntenants: [{name: b, keys: " + mount("m") + "}]", "keys.vault.mount: is main's, too"},
		{"a mount beside", "keys: " + mount("m") + "\ntenants: [{name: b, keys: " + mount("m-transit") + "}]", "keys.vault.mount: is main's, too"},
		{"issuer", "auth: {issuers: [{name: s, url: 'https://i', audience: a, kind: system, tenant: other}]}", "tenant other is not among the tenants"},
		{"certificates", "tls: {cert_file: a, key_file: b, client_ca_file: c}\nauth: {certificates: {uri_prefix: 'spiffe://x/', tenant: other}}", "auth.certificates.tenant: other is not among"},
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

// TestTenantDefaults: a further tenant takes nothing over from the first, and its paths are the file's.
func TestTenantDefaults(t *testing.T) {
	c, err := parseConfig([]byte("home: h\nenvironment: t\nschema: s.yaml\napprovals: {erasure: {needed: 5}}\ntenants: [{name: b, purposes: p.yaml}]"))
	if err != nil {
		t.Fatal(err)
	}
	c.resolve("/etc")
	all := c.tenants()
	if len(all) != 2 || all[0].Tenant != "main" || all[0].Schema != "/etc/s.yaml" || all[0].keyringDir() != "/etc/h/keyring" {
		t.Errorf("the first: %+v", all[0])
	}
	b := all[1]
	if b.Tenant != "b" || b.Environment != "p" || b.Schema != "" || b.Purposes != "/etc/p.yaml" || b.Approvals.Erasure.Needed == 5 {
		t.Errorf("the second: %+v", b)
	}
	if b.keyringDir() != "/etc/h/tenants/b/keyring" || b.storeDir() != all[0].storeDir() || b.Listen != c.Listen {
		t.Errorf("the second's places: %s %s", b.keyringDir(), b.storeDir())
	}
}

// TestNodeOfTwoTenants: readiness and metrics are of both, a credential is one's alone, and whose keys are gone is named.
func TestNodeOfTwoTenants(t *testing.T) {
	c, err := parseConfig([]byte("home: " + filepath.Join(t.TempDir(), "home") + "\nlisten: 127.0.0.1:0\nops: 127.0.0.1:0\ntenants: [{name: b}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := setUp(c); err != nil {
		t.Fatal(err)
	}
	e := &env{err: io.Discard}
	reg := metrics.New("", "")
	n, err := openNode(t.Context(), c, e.log(c), reg)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = n.Close()
		}
	}()
	if r := n.Ready(t.Context()); !r.Ready || len(r.Degraded) != 0 {
		t.Errorf("%+v", r)
	}
	f, err := openFront(t.Context(), c, e.log(c), reg, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range n.Tenants {
		made, err := tenant.bootstrap(t.Context(), false)
		if err != nil || made == nil {
			t.Fatal(err)
		}
		for _, other := range n.Tenants {
			who, err := other.Service.Authenticate(t.Context(), vault.Presented{Bearer: made.Secret})
			if (err == nil) != (other == tenant) || err == nil && who.Tenant != tenant.Name {
				t.Errorf("the token of %s at %s: %+v %v", tenant.Name, other.Name, who, err)
			}
		}
	}
	scraped := get(t, f.opsURL+"/metrics")
	if !strings.Contains(scraped, "\nsandyq_live 1\n") || strings.Contains(scraped, `tenant="`) {
		t.Error("the metrics do not say that both are live, or name tenants")
	}
	if err := errors.Join(f.stop(c.ShutdownTimeout), n.Close()); err != nil {
		t.Error(err)
	}
	closed = true
	if err := os.Rename(c.tenants()[1].keyFile(), filepath.Join(c.Home, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := openNode(t.Context(), c, e.log(c), metrics.New("", "")); err == nil || !strings.Contains(err.Error(), "tenant b: ") {
		t.Errorf("without a tenant's keyring: %v", err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
