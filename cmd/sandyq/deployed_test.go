package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
)

// deployed are the configurations in deploy/ of a node over servers: each a whole file, or below a key of one.
var deployed = []struct{ file, below string }{
	{"compose/sandyq.yaml", ""},
	{"systemd/node.yaml", ""},
	{"helm/sandyq/values.yaml", "config"},
}

// TestDeployedConfigurations: each is understood, allowed, and keeps nothing in its home.
func TestDeployedConfigurations(t *testing.T) {
	for _, d := range deployed {
		t.Run(d.file, func(t *testing.T) {
			c, err := parseConfig(deployedFile(t, d.file, d.below))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.check(); err != nil {
				t.Error(err)
			}
			if c.Audit.Origin == "" || !c.keepsNothing() || !c.Ledger.S3.used() {
				t.Errorf("a node of several keeps its own: %+v", c)
			}
			keys := c.hashicorp()
			keys.CAFile = "" // it is not on this machine
			provider, err := hashicorp.Open(keys)
			if err != nil {
				t.Fatalf("keys.vault: %v", err)
			}
			if err := provider.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// deployedFile gives a file of deploy/, or what is below a key of it.
func deployedFile(t *testing.T, name, below string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	if below == "" {
		return b
	}
	var tree map[string]any
	if err := yaml.Load(b, &tree); err != nil {
		t.Fatal(err)
	}
	if b, err = yaml.Dump(tree[below]); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHomeThatKeepsNothing: a node whose vault lies on servers serves from a machine that was never set up, and no other does.
func TestHomeThatKeepsNothing(t *testing.T) {
	c, err := parseConfig(deployedFile(t, "systemd/node.yaml", ""))
	if err != nil {
		t.Fatal(err)
	}
	c.Home = filepath.Join(t.TempDir(), "new", "home")
	for range 2 { // the second time it is there
		if err := c.ready(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(c.Home); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the home: %v, %v", info, err)
	}
	if err := os.Chmod(c.Home, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := c.ready(); err == nil {
		t.Error("a home that everybody may write to is taken")
	}

	for name, change := range map[string]func(*config){
		"rows":      func(c *config) { c.Store = storeConfig{Engine: engineBadger} },
		"documents": func(c *config) { c.Blobs = blobsConfig{Engine: blobsFile} },
		"ledger":    func(c *config) { c.Ledger = ledgerConfig{} },
		"keys":      func(c *config) { c.Keys = keysConfig{Provider: providerLocal} },
	} {
		t.Run(name, func(t *testing.T) {
			keeps := c
			keeps.Home = filepath.Join(t.TempDir(), "home")
			change(&keeps)
			if err := keeps.ready(); err == nil {
				t.Errorf("a home that lacks its %s is taken", name)
			}
			if _, err := os.Stat(keeps.Home); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("and made: %v", err)
			}
		})
	}
}
