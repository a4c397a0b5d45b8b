package vaultserver

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// clusterSize is the least number of nodes of which one may be lost.
const clusterSize = 3

// Cluster is three servers that keep one set of data by raft: one is active,
// the others stand by and hand it what they are asked. What is done to a
// cluster is done to its nodes, with the methods of Server; only the active
// node can be sealed over the API.
//
// A lost leader is missed after a second or two; then another is elected and
// takes over, in about five seconds together.
type Cluster struct {
	// Nodes are the servers, which share their root token and unseal key.
	Nodes []*Server
}

// StartCluster runs a fresh cluster for t and discards it, data and all, when
// t ends. All of its nodes vote when it returns, some four seconds later.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := startCluster(t.Context())
	if err != nil {
		stopTest(t, err)
	}
	t.Cleanup(c.discard)
	return c
}

func startCluster(ctx context.Context) (_ *Cluster, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c := &Cluster{Nodes: make([]*Server, clusterSize)}
	defer func() {
		if err != nil {
			c.discard()
		}
	}()
	var group errgroup.Group
	for i := range c.Nodes {
		group.Go(func() (err error) {
			c.Nodes[i], err = launched(ctx, settings{raft: true, node: strconv.Itoa(i)})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	first := c.Nodes[0]
	if err := first.initialise(ctx); err != nil {
		return nil, err
	}
	if err := first.unseal(ctx); err != nil {
		return nil, err
	}
	first.clustered = true
	for _, node := range c.Nodes[1:] {
		group.Go(func() error { return node.join(ctx, first) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return c, c.awaitVoters(ctx)
}

// join makes the empty server a node of the cluster that first is in.
func (s *Server) join(ctx context.Context, first *Server) error {
	body := map[string]string{"leader_api_addr": first.Address}
	if err := s.do(ctx, http.MethodPost, "sys/storage/raft/join", body, nil); err != nil {
		return err
	}
	s.unsealKey, s.RootToken, s.clustered = first.unsealKey, first.RootToken, true
	return s.unseal(ctx)
}

// awaitVoters waits until every node has a vote: before that the cluster does
// not survive the loss of the first.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	for {
		var answer struct {
			Data struct {
				Config struct {
					Servers []struct {
						Voter bool `json:"voter"`
					} `json:"servers"`
				} `json:"config"`
			} `json:"data"`
		}
		if err := c.Nodes[0].do(ctx, http.MethodGet, "sys/storage/raft/configuration", nil, &answer); err != nil {
			return err
		}
		voters := 0
		for _, server := range answer.Data.Config.Servers {
			if server.Voter {
				voters++
			}
		}
		if voters == len(c.Nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until all nodes vote (%d do): %w", voters, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// Addresses are the nodes' base URLs.
func (c *Cluster) Addresses() []string {
	addresses := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		addresses[i] = node.Address
	}
	return addresses
}

// Leader returns the active node, waiting until there is one that can write:
// a deposed leader may think for a moment that it still leads.
func (c *Cluster) Leader(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(lasting(t), startLimit)
	defer cancel()
	for {
		for _, node := range c.Nodes {
			if node.leads(ctx) {
				return node
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no node of the cluster leads within %s", startLimit)
		case <-time.After(10 * pollEvery):
		}
	}
}

// leads reports that the server is active and that what it writes is accepted
// by a majority. A server that does not answer at once does not lead.
func (s *Server) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, _, err := s.send(ctx, "", http.MethodGet, "sys/health", nil)
	if err != nil || status != http.StatusOK {
		return false
	}
	return s.do(ctx, http.MethodPut, "cubbyhole/leads", map[string]string{"leads": "yes"}, nil) == nil
}

// Request sends a request with the root token to the active node and returns
// its answer; see Server.RequestAs. When it fails with its node, the next that
// leads is asked: the request may then have been carried out before.
func (c *Cluster) Request(t testing.TB, method, path string, body any) (status int, answer []byte) {
	t.Helper()
	for {
		leader := c.Leader(t)
		ctx, cancel := context.WithTimeout(lasting(t), time.Second)
		status, answer, err := leader.send(ctx, leader.RootToken, method, path, body)
		cancel()
		if err == nil && status < http.StatusInternalServerError {
			return status, answer
		}
	}
}

// StepDown has the active node give its place up to another, and returns at
// once. It does not stand for election for ten seconds.
func (c *Cluster) StepDown(t testing.TB) {
	t.Helper()
	if err := c.Leader(t).do(lasting(t), http.MethodPut, "sys/step-down", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// discard kills every node and removes the data.
func (c *Cluster) discard() {
	for _, node := range c.Nodes {
		if node != nil {
			node.discard()
		}
	}
}
