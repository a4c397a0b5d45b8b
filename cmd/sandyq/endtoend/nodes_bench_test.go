package endtoend

import (
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
)

// BenchmarkNodes reports detokenize calls a second over HTTP of 64 clients, all at one node, and half of them at each of two, and the ratio.
// Each node is a process that may use one processor (GOMAXPROCS=1), as on a machine of its own; they share PostgreSQL, HashiCorp Vault and
// whatever processors there are with each other and the clients. Rounds of one and of two alternate:
// go test -run '^$' -bench Nodes -benchtime 20x ./cmd/sandyq/endtoend
func BenchmarkNodes(b *testing.B) {
	b.Setenv("GOMAXPROCS", "1") // of the processes that are started
	site := newSite(b, "")
	nodes := site.nodes(2)
	var at []*caller
	for _, n := range nodes {
		at = append(at, callerAs(b, n, site.token))
	}
	var bodies [][]byte
	for _, token := range people(b, nodes[0], 400) {
		body, err := json.Marshal(api.DetokenizeRequest{Purpose: "service", Reason: "bench", Tokens: []string{token}})
		check(b, err)
		bodies = append(bodies, body)
	}
	const clients, calls = 64, 50 // of each client, in each round
	type sum struct{ took, used time.Duration }
	used := func() time.Duration { return nodes[0].processor(b) + nodes[1].processor(b) }
	round := func(count int, all *sum) {
		began, before := time.Now(), used()
		var work sync.WaitGroup
		for client := range clients {
			work.Go(func() {
				for n := range calls {
					at[client%count].call(b, "/v1/detokenize", bodies[(client*calls+n)*7%len(bodies)])
				}
			})
		}
		work.Wait()
		all.took, all.used = all.took+time.Since(began), all.used+used()-before
	}
	var one, two, opening sum
	round(2, &opening) // of keys and connections
	for n := range b.N {
		if n%2 == 0 { // so that neither is always the first
			round(1, &one)
			round(2, &two)
		} else {
			round(2, &two)
			round(1, &one)
		}
	}
	made := float64(b.N * clients * calls)
	b.ReportMetric(made/one.took.Seconds(), "one-node/s")
	b.ReportMetric(made/two.took.Seconds(), "two-nodes/s")
	b.ReportMetric(one.took.Seconds()/two.took.Seconds(), "two-of-one")
	b.ReportMetric(float64(one.used.Microseconds())/made, "one-node-µs")
	b.ReportMetric(float64(two.used.Microseconds())/made, "two-nodes-µs")
	b.ReportMetric(0, "ns/op")
}
