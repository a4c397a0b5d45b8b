package endtoend

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store/postgres/patroni"
)

// backIn is how soon there is service again when the primary is lost.
const backIn = time.Minute

// TestNodesOutliveTheirPrimary has clients ask two processes over a Patroni cluster, of which the primary is killed. What they are answered,
// before, meanwhile and after, is what one vault would have answered, and nothing is lost. SANDYQ_TEST_SCALE multiplies the failovers.
func TestNodesOutliveTheirPrimary(t *testing.T) {
	cluster := patroni.Start(t)
	s := virginSite(t, cluster.Database(t), "")
	s.init()
	nodes := s.nodes(2)
	c := newCrowd(s, nodes)
	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for n := range 10 {
		load.Go(func() { c.load(loaded, n) })
	}
	for range scaled(1) {
		time.Sleep(2 * time.Second)
		primary := cluster.Leader(t)
		struck := time.Now()
		primary.Kill(t)
		nodes[0].until(t, "somebody is registered", func() bool {
			resp, err := nodes[0].Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
				Fields: map[string]api.OneOrMany[api.Value]{"given_name": api.One(api.Text("Дана"))},
			}}})
			return err == nil && resp.Results[0].Error == nil
		})
		back := time.Since(struck)
		t.Logf("%s is lost; somebody is registered after %s", primary.Name, back.Round(10*time.Millisecond))
		if back > backIn {
			t.Errorf("no service for %s", back)
		}
		primary.Start(t)
		cluster.Await(t, patroni.Whole)
	}
	stop()
	load.Wait()
	c.readEverything(t)
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.eraseEverybody(t)
	s.isWhole(t, nodes, c.erasures)
	t.Logf("%d calls about %d people, %d erasures", c.Calls(), len(c.people()), len(c.erasures))
}
