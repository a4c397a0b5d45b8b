package hashicorp_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
	"github.com/sandyq/sandyq/crypto/secret"
)

func TestMain(m *testing.M) { os.Exit(vaultserver.Main(m)) }

var mounts atomic.Int64

// place is one set-up in a server.
type place struct {
	server *vaultserver.Server
	config hashicorp.Config
	files  string // folder of the credentials
}

// setUp sets a mount of its own up in server. With two, erasing has an identity of its own.
func setUp(t testing.TB, server *vaultserver.Server, two bool) place {
	t.Helper()
	p := placeAt(t, server)
	c := p.setupConfig()
	if two {
		erase := p.credentials("erase")
		c.Erase = &erase
		auth := approle(erase)
		p.config.EraseAuth = &auth
	}
	if _, err := hashicorp.Setup(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return p
}

// placeAt is a place that is not set up yet.
func placeAt(t testing.TB, server *vaultserver.Server) place {
	t.Helper()
	p := place{server: server, files: t.TempDir(), config: hashicorp.Config{
		Address: server.Address,
		Mount:   fmt.Sprintf("m%d", mounts.Add(1)),
		Tenant:  "acme",
	}}
	p.config.Auth = approle(p.credentials("serve"))
	return p
}

func (p place) setupConfig() hashicorp.SetupConfig {
	return hashicorp.SetupConfig{
		Operator: p.operator(),
		Mount:    p.config.Mount,
		Tenant:   p.config.Tenant,
		Serve:    p.credentials("serve"),
	}
}

func (p place) operator() hashicorp.Operator {
	return hashicorp.Operator{Address: p.server.Address, Token: secret.NewString(p.server.RootToken)}
}

func (p place) credentials(role string) hashicorp.Credentials {
	return hashicorp.Credentials{
		RoleIDFile:   filepath.Join(p.files, role+".role-id"),
		SecretIDFile: filepath.Join(p.files, role+".secret-id"),
	}
}

func approle(c hashicorp.Credentials) hashicorp.Auth {
	return hashicorp.Auth{Method: "approle", RoleIDFile: c.RoleIDFile, SecretIDFile: c.SecretIDFile}
}

// open opens a provider, which is closed before the server is.
func (p place) open(t testing.TB) *hashicorp.Vault {
	t.Helper()
	return open(t, p.config)
}

func open(t testing.TB, c hashicorp.Config) *hashicorp.Vault {
	t.Helper()
	v, err := hashicorp.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func create(t testing.TB, v *hashicorp.Vault) kms.ID {
	t.Helper()
	id := kms.NewID()
	if _, err := v.Create(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// within fails the test when f takes longer than limit.
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	f()
	if ctx.Err() != nil {
		t.Errorf("%s took longer than %v", what, limit)
	}
}

// eventually repeats f until it succeeds; it fails the test when that takes longer than limit.
func eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for err := f(); err != nil; err = f() {
		if ctx.Err() != nil {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestConformance(t *testing.T) {
	server := vaultserver.Shared(t)
	for name, two := range map[string]bool{"one identity": false, "two identities": true} {
		t.Run(name, func(t *testing.T) {
			kmstest.Run(t, func(t *testing.T) kmstest.Opener {
				p := setUp(t, server, two)
				p.config.Timeout = 20 * time.Second // a busy machine is not what this is about
				return func(t *testing.T) kms.Provider {
					v, err := hashicorp.Open(p.config)
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
			})
		})
	}
}
