package main

import (
	"context"
	"crypto/tls"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/authn"
	"github.com/sandyq/sandyq/vault/fault"
)

// identities are the issuers and certificates of all tenants, as one tenant asks them: those of others are nobody's to it.
type identities struct {
	tenant       string
	issuers      *authn.Issuers
	certificates *authn.Certificates // nil when no certificate is a system
}

// Verify implements vault.Identities.
func (i identities) Verify(ctx context.Context, bearer string) (access.Principal, error) {
	return i.own(i.issuers.Verify(ctx, bearer))
}

// Certificate implements vault.Identities.
func (i identities) Certificate(conn *tls.ConnectionState) (access.Principal, error) {
	if i.certificates == nil {
		return access.Principal{}, fault.New(fault.Unauthenticated, "a valid credential is required")
	}
	return i.own(i.certificates.Principal(conn))
}

// Connection implements vault.Identities.
func (i identities) Connection(conn *tls.ConnectionState) error {
	return i.certificates.Connection(conn)
}

// Behalf implements vault.Agents.
func (i identities) Behalf(ctx context.Context, token string) (access.Behalf, error) {
	return i.issuers.Behalf(ctx, i.tenant, token)
}

func (i identities) own(who access.Principal, err error) (access.Principal, error) {
	if err == nil && who.Tenant != i.tenant {
		err = fault.New(fault.Unauthenticated, "a valid credential is required")
	}
	if err != nil {
		return access.Principal{}, err
	}
	return who, nil
}
