package patroni

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// Member is what Patroni says of a node.
type Member struct {
	Name     string `json:"name"`
	Role     string `json:"role"`  // leader, sync_standby or replica
	State    string `json:"state"` // running, or streaming, and others
	Timeline int    `json:"timeline"`
}

// State is what a cluster says of itself.
type State struct {
	Members []Member `json:"members"`
}

// A Want is a state to wait for.
type Want func(State) bool

// Whole is a cluster with all its nodes: a leader, its synchronous standby and the others, which follow.
func Whole(s State) bool {
	following := 0
	for _, m := range s.Members {
		if m.Role != "leader" && (m.State == "running" || m.State == "streaming") && m.Timeline == s.leader().Timeline {
			following++
		}
	}
	return Ready(s) && following == Nodes-1
}

// Ready is a cluster that can commit: it has a leader and a synchronous standby.
func Ready(s State) bool {
	if s.leader().State != "running" {
		return false
	}
	for _, m := range s.Members {
		if m.Role == "sync_standby" && (m.State == "running" || m.State == "streaming") {
			return true
		}
	}
	return false
}

// LedByOther is a cluster that can commit whose leader is another node than n.
func LedByOther(n *Node) Want {
	return func(s State) bool { return Ready(s) && s.leader().Name != n.Name }
}

func (s State) leader() Member {
	for _, m := range s.Members {
		if m.Role == "leader" {
			return m
		}
	}
	return Member{}
}

// Await waits until the cluster is as wanted, and returns the state.
func (c *Cluster) Await(t testing.TB, want Want) State {
	t.Helper()
	return c.await(t, awaitLimit, want)
}

func (c *Cluster) await(t testing.TB, limit time.Duration, want Want) (s State) {
	t.Helper()
	for deadline := time.After(limit); ; {
		var err error
		if s, err = c.state(lasting(t)); err == nil && want(s) {
			return s
		}
		select {
		case <-deadline:
			t.Fatalf("the cluster did not get there: %v (%v)\n%s", s, err, c.logs())
		case <-time.After(pollEvery):
		}
	}
}

// state asks the nodes by turns; one that is down or frozen does not answer.
func (c *Cluster) state(ctx context.Context) (s State, err error) {
	for _, n := range c.Node {
		if err = n.call(ctx, http.MethodGet, "/cluster", nil, &s); err == nil {
			return s, nil
		}
	}
	return State{}, err
}

// call asks a node's Patroni.
func (n *Node) call(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	if method != http.MethodGet { // answered when it is done
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), awaitLimit)
	}
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address(n.rest)+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err = io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("patroni of %s: %s: %s", n.Name, response.Status, text)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Leader returns the node that leads.
func (c *Cluster) Leader(t testing.TB) *Node {
	t.Helper()
	leads := c.Await(t, func(s State) bool { return s.leader().State == "running" }).leader().Name
	for _, n := range c.Node {
		if n.Name == leads {
			return n
		}
	}
	t.Fatalf("the leader is unknown: %s", leads)
	return nil
}

// Switchover hands the lead over in the orderly way, and returns when another node has it.
func (c *Cluster) Switchover(t testing.TB) {
	t.Helper()
	from := c.Leader(t)
	if err := from.call(lasting(t), http.MethodPost, "/switchover", map[string]string{"leader": from.Name}, nil); err != nil {
		t.Fatal(err)
	}
}

// Configure changes the cluster's settings, as `patronictl edit-config` does.
func (c *Cluster) Configure(t testing.TB, settings map[string]any) {
	t.Helper()
	if err := c.Leader(t).call(lasting(t), http.MethodPatch, "/config", settings, nil); err != nil {
		t.Fatal(err)
	}
}

// logs is the end of every program's log, for a test that fails.
func (c *Cluster) logs() string {
	var all bytes.Buffer
	for _, name := range []string{"etcd", "node1", "node2", "node3"} {
		text, err := os.ReadFile(filepath.Join(c.home, name, "log"))
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", name, text[max(0, len(text)-4000):])
	}
	return all.String()
}
