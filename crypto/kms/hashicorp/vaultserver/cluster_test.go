package vaultserver

import (
	"slices"
	"testing"
	"time"
)

// A cluster goes on without any one of its nodes and waits for one of two;
// what was written is never lost.
func TestCluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := StartCluster(t)
	t.Logf("started in %s", time.Since(began).Round(10*time.Millisecond))
	if len(slices.Compact(slices.Sorted(slices.Values(c.Addresses())))) != clusterSize {
		t.Errorf("%v are not %d addresses", c.Addresses(), clusterSize)
	}
	want(t, c.Nodes[1], 204, "POST", "sys/mounts/kv1", object{"type": "kv"}) // which the standby hands on
	for _, trouble := range []struct {
		name       string
		away, back func(*Server, testing.TB)
	}{
		{"sealed", (*Server).Seal, (*Server).Unseal},
		{"killed", (*Server).Kill, (*Server).Restart},
	} {
		was := c.Leader(t)
		want(t, was, 204, "PUT", "kv1/a", object{"value": trouble.name})
		began := time.Now()
		trouble.away(was, t)
		leader := c.Leader(t)
		t.Logf("%s: another leads after %s", trouble.name, time.Since(began).Round(10*time.Millisecond))
		if leader == was {
			t.Errorf("%s: the node leads still", trouble.name)
		}
		wantEntry(t, leader, "kv1/a", trouble.name)
		trouble.back(was, t)
	}

	leader := c.Leader(t)
	others := slices.DeleteFunc(slices.Clone(c.Nodes), func(s *Server) bool { return s == leader })
	for _, node := range others {
		node.Kill(t)
	}
	if leader.leads(t.Context()) {
		t.Error("one of three leads")
	}
	others[0].Restart(t)
	wantEntry(t, c.Leader(t), "kv1/a", "killed")
	c.StepDown(t)
	wantEntry(t, c.Leader(t), "kv1/a", "killed")
}
