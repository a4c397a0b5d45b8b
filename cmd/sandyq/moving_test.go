package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

// TestAMoveThatFellBetweenTenants has moved one of two. That one stays where it is, and what it has there by now; the other follows.
func TestAMoveThatFellBetweenTenants(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	of := func(folder string) config {
		c := defaultConfig()
		c.Home, c.Store.Badger.Dir, c.Blobs.File.Dir = home, filepath.Join(home, folder, "store"), filepath.Join(home, folder, "documents")
		c.Tenants = []furtherTenant{{Name: "partner", tenantConfig: defaultTenant()}}
		return c
	}
	from, to := of("old"), of("new")
	var said bytes.Buffer
	e := &env{in: strings.NewReader(""), out: &said, err: t.Output()}
	if err := setUp(from); err != nil {
		t.Fatal(err)
	}
	m, err := newMoving(e, from, to)
	if err != nil {
		t.Fatal(err)
	}
	served(t, from, 1, "main", "partner")

	ctx := t.Context()
	if err := errors.Join(m.open(ctx), m.still(ctx), m.copyAll(ctx)); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.left {
		if err := r.HandOver(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.target.openTenants(ctx, m.to, m.log, m.reg); err != nil {
		t.Fatal(err)
	}
	if err := m.target.Tenants[0].Service.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	served(t, from, 2, "partner")
	served(t, to, 2, "main")
	if m, err = newMoving(e, from, to); err != nil {
		t.Fatal(err)
	}
	if err := m.offline(ctx); err != nil {
		t.Fatal(err)
	}
	if len(m.left) != 1 || m.left[0].tenant != "partner" {
		t.Errorf("%d tenants were moved", len(m.left))
	}
	served(t, to, 3, "main", "partner")
	served(t, from, 0)
}

// served makes a token in these tenants, of which the store is the live one, and finds so many with those made before; of the others it isn't.
func served(t *testing.T, c config, made int, tenants ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	n, err := openNode(ctx, c, (&env{err: t.Output()}).log(c), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, of := range n.Tenants {
		if !slices.Contains(tenants, of.Name) {
			if of.standing(ctx) == nil {
				t.Errorf("two stores are the live one for %s", of.Name)
			}
			continue
		}
		if _, err := of.Service.CreateServiceToken(ctx, of.operator(), &api.CreateServiceTokenRequest{System: "crm", Role: "application"}); err != nil {
			t.Errorf("%s: %v", of.Name, err)
			continue
		}
		all, err := of.Service.ServiceTokens(ctx, of.operator(), 0, "")
		if err != nil || len(all.Items) != made {
			t.Errorf("%s has %d tokens, want %d: %v", of.Name, len(all.Items), made, err)
		}
	}
}
