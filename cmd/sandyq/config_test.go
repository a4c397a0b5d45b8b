package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// someWitness is the key of a witness that nobody has the other half of.
const someWitness = "witness.example+06a2bd71+BB8moJpoPevEOS2uOeST7Y9mF1bVaIhAj44m7Egwf5D2"

const example = "../../deploy/sandyq.example.yaml"

// TestExample: the documented configuration is one that is understood, names every key, and tells the true defaults.
func TestExample(t *testing.T) {
	b, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err != nil {
		t.Error(err)
	}
	var tree map[string]any
	if err := yaml.Load(b, &tree); err != nil {
		t.Fatal(err)
	}
	missing(t, reflect.TypeFor[config](), tree, "")

	d := defaultConfig()
	for name, pair := range map[string][2]any{
		"listen": {c.Listen, d.Listen}, "ops": {c.Ops, d.Ops}, "tenant": {c.Tenant, d.Tenant},
		"environment": {c.Environment, d.Environment}, "store.engine": {c.Store.Engine, d.Store.Engine},
		"blobs.engine": {c.Blobs.Engine, d.Blobs.Engine}, "keys.vault.mount": {c.Keys.Vault.Mount, d.Keys.Vault.Mount},
		"keys.vault.timeout": {c.Keys.Vault.Timeout, d.Keys.Vault.Timeout}, "approvals": {c.Approvals, d.Approvals},
		"max_document": {c.MaxDocument, d.MaxDocument}, "shutdown_timeout": {c.ShutdownTimeout, d.ShutdownTimeout},
		"log": {c.Log, d.Log},
	} {
		if fmt.Sprint(pair[0]) != fmt.Sprint(pair[1]) {
			t.Errorf("%s: the example says %v, the default is %v", name, pair[0], pair[1])
		}
	}
}

// missing reports the fields of a struct whose keys are not in the tree.
func missing(t *testing.T, of reflect.Type, tree map[string]any, at string) {
	t.Helper()
	for i := range of.NumField() {
		field := of.Field(i)
		key, inside := field.Tag.Get("yaml"), field.Type
		if key == ",inline" {
			missing(t, inside, tree, at)
			continue
		}
		if !field.IsExported() {
			continue // not of the file
		}
		if key == "" {
			t.Errorf("%s.%s has no key", of, field.Name)
		}
		value, ok := tree[key]
		if !ok {
			t.Errorf("the example lacks %s%s", at, key)
			continue
		}
		if inside.Kind() == reflect.Pointer {
			inside = inside.Elem()
		}
		if below, ok := value.(map[string]any); ok && inside.Kind() == reflect.Struct {
			missing(t, inside, below, at+key+".")
		}
	}
}

// someS3 is a bucket but for its endpoint.
const someS3 = "bucket: x, region: r, access_key_file: a, secret_key_file: b"

func TestConfigRefusals(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "lisen: x", "unknown key lisen"},
		{"unknown key inside", "keys: {local: {passphrase: x}}", "unknown key passphrase"},
		{"repeated key", "home: a\nhome: b", `"home" already defined`},
		{"two documents", "home: a\n---\nhome: b", "more than one YAML document"},
		{"wrong type", "max_document: many", "line 1"},
		{"no unit", "shutdown_timeout: 30", "line 1"},
		{"empty home", `home: ""`, "home: "},
		{"postgres without dsn", "store: {engine: postgres}", "store.postgres.dsn_file: is required"},
		{"postgres beside badger", "store: {postgres: {dsn_file: x}}", "store.postgres: is configured"},
		{"badger beside postgres", "store: {engine: postgres, badger: {dir: x}, postgres: {dsn_file: x}}", "store.badger: is configured"},
		{"no connections", "store: {engine: postgres, postgres: {dsn_file: x, max_connections: 0}}", "store.postgres.max_connections: is 1 to"},
		{"unknown engine", "store: {engine: sqlite}", "store.engine: is badger or postgres"},
		{"s3 without endpoint", "blobs: {engine: s3}", "blobs.s3.endpoint: is required"},
		{"s3 beside file", "blobs: {s3: {bucket: x}}", "blobs.s3: is configured"},
		{"file beside s3", "blobs: {engine: s3, file: {dir: x}, s3: {" + someS3 + "}}", "blobs.file: is configured"},
		{"unknown place of documents", "blobs: {engine: tape}", "blobs.engine: is file or s3"},
		{"s3 in the clear", "blobs: {engine: s3, s3: {" + someS3 + ", endpoint: 'http://s3.example'}}", "blobs.s3.endpoint: is https"},
		{"s3 by host alone", "blobs: {engine: s3, s3: {" + someS3 + ", endpoint: 's3.example'}}", "blobs.s3.endpoint: is https"},
		{"s3 prefix", "blobs: {engine: s3, s3: {" + someS3 + ", endpoint: 'https://s3', prefix: x}}", "blobs.s3.prefix: is letters"},
		{"s3 ledger", "ledger: {s3: {bucket: x}}", "ledger.s3.endpoint: is required"},
		{"s3 ledger without lock", "ledger: {s3: {" + someS3 + ", object_lock: false}}", "ledger.s3.object_lock: is true"},
		{"s3 ledger beside path", "ledger: {path: x, s3: {" + someS3 + "}}", "ledger: has both"},
		{"s3 ledger retained", "ledger: {s3: {retain: 1h}}", "ledger.s3.bucket: is required"},
		{"one place for both", "blobs: {engine: s3, s3: {" + someS3 + ", endpoint: 'https://s3', prefix: a/}}\n" +
			"ledger: {s3: {" + someS3 + ", endpoint: 'https://s3', prefix: a/b/}}", "ledger.s3.prefix: overlaps"},
		{"s3 anchor beside itself", "ledger: {s3: {" + someS3 + ", endpoint: 'https://s3'}}\n" +
			"audit: {anchor: {s3: {" + someS3 + ", endpoint: 'https://s3'}}}", "audit.anchor.s3: is where"},
		{"a witness without a key", "audit: {witnesses: [{url: 'https://w.example'}]}", "audit.witnesses: number 1: key"},
		{"a witness in the clear", "audit: {witnesses: [{url: 'http://w.example', key: " + someWitness + "}]}", "audit.witnesses: witness 1: the address"},
		{"a witness twice", "audit: {witnesses: [{url: 'https://w.example', key: " + someWitness + "}, {url: 'https://v.example', key: " + someWitness + "}]}",
			"audit.witnesses: witness: checkpoint: malformed: two witnesses have one key"},
		{"a quorum of more than there are", "audit: {quorum: 1}", "audit.quorum: is 0 to"},
		{"s3 anchor", "audit: {anchor: {s3: {endpoint: 'https://s3'}}}", "audit.anchor.s3.bucket: is required"},
		{"unknown provider", "keys: {provider: aws}", "keys.provider: is local or vault"},
		{"two openers", "keys: {local: {passphrase_file: a, key_file: b}}", "keys.local: has both"},
		{"vault without address", "keys: {provider: vault}", "keys.vault.address: is required"},
		{"vault with address and addresses", "keys: {provider: vault, vault: {address: 'https://a', addresses: ['https://b']}}",
			"keys.vault: has both address and addresses"},
		{"vault without method", "keys: {provider: vault, vault: {address: 'https://v'}}", "keys.vault.auth.method: is required"},
		{"local beside vault", "keys: {provider: vault, local: {dir: x}}", "keys.local: is configured"},
		{"vault beside local", "keys: {vault: {address: 'https://v'}}", "keys.vault: is configured"},
		{"tenant", "tenant: Main", "tenant: is 1 to 40"},
		{"environment", "environment: prod", "environment: is one letter"},
		{"approvals", "approvals: {erasure: {needed: -1}}", "approvals.erasure.needed: is 0 to 10"},
		{"approvals of nothing", "approvals: {erasures: {needed: 1}}", "unknown key"},
		{"approvals by applications", "approvals: {break_glass: {roles: [application]}}", "approvals.break_glass.roles: names roles"},
		{"approvals by nobody", "approvals: {purpose_change: {roles: [king]}}", "approvals.purpose_change.roles: names roles"},
		{"approvals at once", "approvals: {erasure: {expires: 0s}}", "approvals.erasure.expires: is a duration"},
		{"max_document", "max_document: 0", "max_document: is 1 to"},
		{"shutdown_timeout", "shutdown_timeout: 0s", "shutdown_timeout: is a duration"},
		{"log level", "log: {level: loud}", "loud"},
		{"half a certificate", "tls: {cert_file: x}", "tls: needs cert_file and key_file"},
		{"clients without certificate", "tls: {client_ca_file: x}", "tls.client_ca_file: needs"},
		{"both protections", "tls: {cert_file: x, key_file: y, terminated_upstream: true}", "tls: has both"},
		{"no port", "listen: localhost", "listen: is HOST:PORT"},
		{"public", "listen: 0.0.0.0:7440", "listen: an address that is not loopback needs TLS"},
		{"public by default", "listen: ':7440'", "listen: an address that is not loopback needs TLS"},
		{"public by IPv6", "listen: '[::]:7440'", "listen: an address that is not loopback needs TLS"},
		{"public by name", "listen: sandyq.example:7440", "listen: an address that is not loopback needs TLS"},
		{"public operations", "ops: 10.0.0.1:7441", "ops: an address that is not loopback needs TLS"},
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

func TestConfigAccepts(t *testing.T) {
	for _, text := range []string{
		"", "# nothing\n", "log: {level: debug}", "listen: '[::1]:0'", "listen: localhost:7440",
		"listen: 0.0.0.0:7440\ntls: {terminated_upstream: true}", "listen: :7440\ntls: {cert_file: x, key_file: y}",
		"keys: {provider: vault, vault: {address: 'https://v', auth: {method: token, token_file: x}}}",
		"store: {engine: postgres, postgres: {dsn_file: x}}",
		"blobs: {engine: s3, s3: {" + someS3 + ", endpoint: 'https://s3.example:9000', prefix: a/b/, path_style: true}}",
		"ledger: {s3: {" + someS3 + ", endpoint: 'http://127.0.0.1:9000', retain: 0s}}",
	} {
		c, err := parseConfig([]byte(text))
		if err == nil {
			err = c.check()
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestConfigPaths: paths of the file are taken from its folder, those of flags from the working directory.
func TestConfigPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etc", "sandyq.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "home: ../data\nledger: {path: /elsewhere}\nkeys: {local: {passphrase_file: secret}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	c, err := (&configFlags{file: "etc/sandyq.yaml"}).load()
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		c.Home: filepath.Join(dir, "data"), c.storeDir(): filepath.Join(dir, "data", "store"), c.ledgerDir(): "/elsewhere",
		c.keysDir(): filepath.Join(dir, "data", "keyring", "local"), c.Keys.Local.PassphraseFile: filepath.Join(dir, "etc", "secret"),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	c, err = (&configFlags{file: "etc/sandyq.yaml", home: "flag", listen: "127.0.0.1:1"}).load()
	if err != nil || c.Home != filepath.Join(dir, "flag") || c.Listen != "127.0.0.1:1" {
		t.Errorf("flags: %s %s %v", c.Home, c.Listen, err)
	}
}
