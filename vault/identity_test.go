package vault_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// named tells of every credential that it is that system's.
type named string

func (n named) Verify(context.Context, string) (access.Principal, error) { return n.principal(), nil }

func (n named) Certificate(*tls.ConnectionState) (access.Principal, error) { return n.principal(), nil }

func (named) Connection(*tls.ConnectionState) error { return nil }

func (n named) principal() access.Principal {
	return access.Principal{System: string(n), Credential: "x509:00", Roles: []access.Role{access.Application}}
}

// TestNobodyIsTheVaultItself: no issuer and no certificate makes a caller the vault, whose own work no review counts.
func TestNobodyIsTheVaultItself(t *testing.T) {
	for name, in := range map[named]bool{"sandyq": false, "crm": true} {
		v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Identities = name }))
		for how, shown := range map[string]vault.Presented{"certificate": {TLS: &tls.ConnectionState{}}, "bearer token": {Bearer: "e30.e30.x"}} {
			_, err := v.Authenticate(ctx, shown)
			if in != (err == nil) {
				t.Errorf("%s by a %s: %v", name, how, err)
			}
			if !in {
				wantCode(t, err, fault.Unauthenticated)
			}
		}
	}
}

// TestNoSystemsAreNotAllSystems: a list of systems that names none is refused, for to leave it out means all of them.
func TestNoSystemsAreNotAllSystems(t *testing.T) {
	v := vaulttest.New(t)
	_, err := v.CreateServiceToken(ctx, v.As("root", access.Administrator), &api.CreateServiceTokenRequest{
		System: "desk", Role: "staff", Systems: []string{},
	})
	wantCode(t, err, fault.Invalid)
}
