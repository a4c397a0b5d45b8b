package vault_test

import (
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestCertificateOfSlices: the certificate of an erasure of slices names them and verifies, and the person lives on. No system
// is told of it.
func TestCertificateOfSlices(t *testing.T) {
	v := vaulttest.New(t)
	shop, desk := app(v), staff(v)
	who := register(t, v, shop, aigul())
	_ = must[*api.Document](t)(v.PutDocument(ctx, shop, upload(who.Subject, jpeg(5000))))
	e := eraseSlices(t, v, shop, who.Subject, "documents")
	erased(t, v, shop, e.Erasure)

	c := must[*vault.IssuedCertificate](t)(v.Certificate(ctx, desk, e.Erasure))
	scope, gone := c.Verified.Content.Scope, c.Verified.Content.Destroyed.Slices
	if scope.Person || len(scope.Slices) != 1 || scope.Slices[0] != "documents" || len(gone) != 1 || gone[0].Slice != "documents" {
		t.Errorf("%+v %+v", scope, gone)
	}
	_, err := v.Certificate(ctx, shop, e.Erasure)
	wantCode(t, err, fault.Denied)
}

// TestCertificateToldToASystem: a system that alone held a person gets the certificate of their erasure. When others held the
// person too, it counts what is theirs, and staff give it out.
func TestCertificateToldToASystem(t *testing.T) {
	v := vaulttest.New(t)
	shop, other, desk := app(v), v.As("loyalty", access.Application), v.As("desk", access.Administrator)
	alone := register(t, v, shop, aigul())
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: alone.Subject, Ground: "request", Reason: "asked"}))
	erased(t, v, shop, e.Erasure)
	c := must[*vault.IssuedCertificate](t)(v.Certificate(ctx, shop, e.Erasure))
	if r := c.Verified.Content.Requester; r == nil || r.System != "shop" || r.Subject != alone.Subject {
		t.Errorf("%+v", r)
	}

	shared := register(t, v, shop, fields{"iin": text(iinB), "given_name": text("Дана")})
	_ = register(t, v, other, fields{"iin": text(iinB), "phone": text("+77011234567")})
	e = must[*api.Erasure](t)(v.RequestErasure(ctx, shop, &api.ErasureRequest{Subject: shared.Subject, Ground: "request", Reason: "asked"}))
	_ = must[*api.Erasure](t)(v.ApproveErasure(ctx, desk, e.Erasure, nothingSaid()))
	erased(t, v, shop, e.Erasure)
	_, err := v.Certificate(ctx, shop, e.Erasure)
	wantCode(t, err, fault.Denied)
	_, err = v.Certificate(ctx, other, e.Erasure)
	wantCode(t, err, fault.NotFound)
	_ = must[*vault.IssuedCertificate](t)(v.Certificate(ctx, desk, e.Erasure))
}
