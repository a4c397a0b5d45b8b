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
	leader := c.Leader(t)
	p := setUp(t, leader, false)
	addresses := slices.DeleteFunc(c.Addresses(), func(a string) bool { return a == leader.Address })
	p.config.Address, p.config.Addresses = "", append(append([]string{"http://127.0.0.1:1"}, addresses...), leader.Address)
	return c, p
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
		stays, goes := create(t, v), create(t, v)
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
		eventually(t, 5*time.Second, "destroy", func() error { return v.Destroy(t.Context(), claim, goes) })
		trouble.back(was, t) // perhaps to say that it leads
		wantMissing(t, v, []kms.ID{goes})
		if keys, err := v.Open(t.Context(), stays); err != nil || keys[0].Missing() {
			t.Errorf("%s: a key of before: missing, %v", trouble.name, err)
		}
	}
}

// TestClusterStandby: a standby that is the only one within reach hands on.
func TestClusterStandby(t *testing.T) {
	t.Parallel()
	c, p := setUpCluster(t)
	p.config.Addresses = slices.DeleteFunc(p.config.Addresses, func(a string) bool { return a == c.Leader(t).Address })
	v := p.open(t)
	id := create(t, v)
	if err := v.Destroy(t.Context(), kmstest.Claim(t, v), id); err != nil {
		t.Fatal(err)
	}
}
