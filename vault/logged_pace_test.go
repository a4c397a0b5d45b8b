package vault_test

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestTheLogKeepsUp reads single values by 64 clients, as fast as the service gives them, which is as many entries as there can be:
// the tree is never further behind than a few seconds' worth, and has all of them soon after. SANDYQ_TEST_SCALE lengthens it.
func TestTheLogKeepsUp(t *testing.T) {
	const clients, behind = 64, 3 * time.Second
	v := vaulttest.New(t)
	shop, boss := app(v), person("trail", "trail", access.Administrator)
	tokens := people(t, v, shop, 200)
	size := func() int64 {
		note, err := v.LogCheckpoint(ctx, boss)
		if err != nil {
			return 0
		}
		return must[int64](t)(strconv.ParseInt(strings.Split(string(note), "\n")[1], 10, 64))
	}
	var read atomic.Int64
	made := len(must[*api.Page[api.AuditEntry]](t)(v.AuditEntries(ctx, boss, api.AuditQuery{Limit: 1000})).Items)
	eventually(t, "the log has what came before", func() bool { return size() >= int64(made) })
	began, before := time.Now(), size()
	end := began.Add(time.Duration(scaled(2)) * time.Second)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for n := c; time.Now().Before(end); n += clients {
				resp, err := v.Detokenize(ctx, shop, &api.DetokenizeRequest{Purpose: "service", Reason: "check", Tokens: tokens[n%len(tokens) : n%len(tokens)+1]})
				if err != nil || resp.Results[0].Value == nil {
					t.Errorf("%v", err)
					return
				}
				read.Add(1)
			}
		})
	}
	var furthest time.Duration // behind: since when there were as many entries as the tree has now
	type mark struct {
		at      time.Time
		entries int64
	}
	for marks := []mark{}; time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		marks = append(marks, mark{time.Now(), before + read.Load()})
		for in := size(); len(marks) > 0 && marks[0].entries <= in; marks = marks[1:] {
		}
		if len(marks) > 0 {
			furthest = max(furthest, time.Since(marks[0].at))
		}
	}
	all.Wait()
	took := time.Since(began)
	stopped := time.Now()
	eventually(t, "all entries are in a signed tree", func() bool { return size() >= before+read.Load() })
	caught := time.Since(stopped)
	t.Logf("%d entries in %v, %.0f/s; the tree was %v behind at most and %v in the end", read.Load(), took, float64(read.Load())/took.Seconds(), furthest, caught)
	if furthest > behind || caught > behind {
		t.Errorf("the log does not keep up: %v behind, and %v after the end", furthest, caught)
	}
}
