package hashicorp_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
)

// setUpCluster sets a mount up in a cluster, whose nodes are asked in the order of config.Addresses: the active one last,
// behind one where nobody listens.
func setUpCluster(t *testing.T) (*vaultserver.Cluster, place) {
	t.Helper()
	c := vaultserver.StartCluster(t)
	p := placeAt(t, c.Leader(t))
	soon(t, "set up", func() error {
		p.server = c.Leader(t)
		_, err := hashicorp.Setup(t.Context(), p.setupConfig())
		return err
	})
	addresses := slices.DeleteFunc(c.Addresses(), func(a string) bool { return a == p.server.Address })
	p.config.Address, p.config.Addresses = "", append(append([]string{"http://127.0.0.1:1"}, addresses...), p.server.Address)
	return c, p
}

// soon has f succeed within a while: a cluster may elect another leader at any time, and a busy machine's does. Until then f fails
// with ErrUnavailable and nothing else.
func soon(t *testing.T, what string, f func() error) {
	t.Helper()
	eventually(t, 20*time.Second, what, func() error {
		err := f()
		if err != nil && !errors.Is(err, kms.ErrUnavailable) {
			t.Fatalf("%s: %v, want ErrUnavailable", what, err)
		}
		return err
	})
}

// createSoon is create in a cluster. Each try makes a key of its own: one that failed may have been carried out.
func createSoon(t *testing.T, v *hashicorp.Vault) (id kms.ID) {
	t.Helper()
	soon(t, "create", func() error {
		id = kms.NewID()
		_, err := v.Create(t.Context(), id)
		return err
	})
	return id
}

// TestClusterFailover takes the leader away in every way. Meanwhile calls fail within the timeout; soon after there is
// another they succeed, and keys are as they were.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c, p := setUpCluster(t)
	v := p.open(t)
	claim := kmstest.Claim(t, v)
	for _, trouble := range []struct {
		name       string
		away, back func(*vaultserver.Server, testing.TB)
	}{
		{"sealed", (*vaultserver.Server).Seal, (*vaultserver.Server).Unseal},
		{"killed", (*vaultserver.Server).Kill, (*vaultserver.Server).Restart},
		{"paused", (*vaultserver.Server).Pause, (*vaultserver.Server).Resume},
	} {
		stays, goes := createSoon(t, v), createSoon(t, v)
		was := c.Leader(t)
		trouble.away(was, t)
		failed := 0
		began := time.Now()
		for done := false; !done; {
			within(t, hashicorp.DefaultTimeout+slack, "a call while no node leads", func() {
				_, err := v.Create(t.Context(), kms.NewID())
				if done = err == nil; !done && !errors.Is(err, kms.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", trouble.name, err)
				}
			})
			if !done {
				failed++
				time.Sleep(10 * time.Millisecond)
			}
		}
		t.Logf("%s: keys are created again after %s (%d failures)", trouble.name, time.Since(began).Round(10*time.Millisecond), failed)
		soon(t, "destroy", func() error { return v.Destroy(t.Context(), claim, goes) })
		trouble.back(was, t) // perhaps to say that it leads
		var keys []kms.Key
		soon(t, "open", func() (err error) {
			keys, err = v.Open(t.Context(), goes, stays)
			return err
		})
		if !keys[0].Missing() || keys[1].Missing() {
			t.Errorf("%s: the destroyed key is there: %t; the other is missing: %t", trouble.name, !keys[0].Missing(), keys[1].Missing())
		}
	}
}

// TestClusterStandby: a standby that is the only one within reach hands on.
func TestClusterStandby(t *testing.T) {
	t.Parallel()
	c, p := setUpCluster(t)
	p.config.Addresses = slices.DeleteFunc(p.config.Addresses, func(a string) bool { return a == c.Leader(t).Address })
	v := p.open(t)
	id := createSoon(t, v)
	claim := kmstest.Claim(t, v)
	soon(t, "destroy", func() error { return v.Destroy(t.Context(), claim, id) })
}
