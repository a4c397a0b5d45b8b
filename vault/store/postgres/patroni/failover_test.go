package patroni_test

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
	"github.com/sandyq/sandyq/vault/store/postgres/patroni"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scale is what SANDYQ_TEST_SCALE multiplies counts by.
func scale() int {
	n, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE"))
	if err != nil {
		return 1
	}
	return n
}

func open(t *testing.T, opt postgres.Options) *postgres.Store {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s, err := postgres.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

const (
	perStore = 8                // writers
	backIn   = 60 * time.Second // service, at most, after any fault
	fenced   = 4 * time.Second  // an old primary is left to itself for so long
)

// A fault takes the lead from a node and returns what brings the node back. While it is away, the cluster is given time to choose
// another leader.
type fault struct {
	name   string
	strike func(t *testing.T, c *patroni.Cluster, leader *patroni.Node) (back func())
	awake  func(t *testing.T, leader *patroni.Node) // afterwards, a primary that does not know it is none; or nil
}

var faults = []fault{
	{"a paused machine", func(t *testing.T, _ *patroni.Cluster, leader *patroni.Node) func() {
		leader.Pause(t)
		return func() { leader.Resume(t) }
	}, func(t *testing.T, leader *patroni.Node) { leader.ResumePostgres(t) }},
	{"kill -9 of PostgreSQL and Patroni", func(t *testing.T, _ *patroni.Cluster, leader *patroni.Node) func() {
		leader.Kill(t)
		return func() { leader.Start(t) }
	}, nil},
	{"switchover", func(t *testing.T, c *patroni.Cluster, _ *patroni.Node) func() {
		c.Switchover(t)
		return func() {}
	}, nil},
	{"kill -9 of PostgreSQL", func(t *testing.T, _ *patroni.Cluster, leader *patroni.Node) func() {
		leader.KillPostgres(t)
		return func() {}
	}, nil},
	{"a paused Patroni", func(t *testing.T, _ *patroni.Cluster, leader *patroni.Node) func() {
		leader.PausePatroni(t)
		return func() { leader.Resume(t) }
	}, func(*testing.T, *patroni.Node) {}},
	{"no way to etcd", func(t *testing.T, _ *patroni.Cluster, leader *patroni.Node) func() {
		leader.CutOff(t)
		return func() { leader.Join(t) }
	}, nil},
}

// TestFailovers has the lead taken from one node after the other while two stores write.
func TestFailovers(t *testing.T) {
	c := patroni.Start(t)
	dsn := c.Database(t)
	one, other := open(t, postgres.Options{DSN: dsn}), open(t, postgres.Options{DSN: dsn})
	place, _ := one.Place()
	openBank(t, one)
	l := startLoad(0, slices.Concat(slices.Repeat([]store.Store{one}, perStore), slices.Repeat([]store.Store{other}, perStore))...)
	t.Cleanup(l.end)
	loads := []*load{l}
	rounds := 1
	if scale() > 1 {
		rounds = 2 * scale()
	}
	var longest time.Duration
	for n := range rounds {
		f := faults[n%len(faults)]
		pause, lonely := failOver(t, c, dsn, f, l, 100*(n+1))
		longest = max(longest, pause)
		loads = append(loads, lonely)
		t.Logf("%2d %-34s the lead is at %s, service back after %s", n+1, f.name, c.Leader(t).Name, pause.Round(10*time.Millisecond))
		if pause > backIn {
			t.Errorf("%s: %s until an Update was acknowledged", f.name, pause)
		}
	}
	l.end()
	acked, unknown, lost := readBank(t, c.Leader(t).Only(dsn)).check(t, loads...)
	if acked == 0 || lost > 0 {
		t.Errorf("%d acknowledged, %d of them lost", acked, lost)
	}
	errs := map[string]int{}
	for _, w := range l.writers {
		for why, n := range w.errs {
			errs[why] += n
		}
	}
	t.Logf("%d failovers: %d Updates acknowledged, %d lost, %d unknown (%v); service back after %s at most", rounds, acked, lost, unknown, errs, longest)
	again := open(t, postgres.Options{DSN: dsn})
	if now, _ := again.Place(); now != place {
		t.Error("another place after the failovers")
	}
}

// failOver strikes the leader and waits until the cluster is whole again. A store of the leader's own writes all the time: as soon as
// another leads, nothing that it writes may be acknowledged.
func failOver(t *testing.T, c *patroni.Cluster, dsn string, f fault, l *load, number int) (pause time.Duration, lonely *load) {
	t.Helper()
	leader := c.Leader(t)
	only := open(t, postgres.Options{DSN: leader.Only(dsn), MaxConns: 2})
	lonely = startLoad(number, only, only)
	defer lonely.end()
	time.Sleep(time.Second)
	struck := time.Now()
	back := f.strike(t, c, leader)
	c.Await(t, patroni.LedByOther(leader))
	if f.awake != nil {
		f.awake(t, leader)
		from := time.Now()
		for time.Since(from) < fenced || l.acked(from, time.Now()) == 0 && time.Since(from) < backIn {
			time.Sleep(10 * time.Millisecond)
		}
		if l.acked(from, time.Now()) == 0 {
			t.Errorf("%s: no service beside the old primary", f.name)
		}
		if n := lonely.acked(from, time.Now()); n > 0 {
			t.Errorf("%s: the old primary acknowledged %d Updates", f.name, n)
		}
	}
	back()
	c.Await(t, patroni.Whole)
	for l.acked(struck, time.Now()) == 0 && time.Since(struck) < backIn {
		time.Sleep(10 * time.Millisecond)
	}
	lonely.end()
	return l.pause(struck), lonely
}

// pause is the longest time after from in which nothing was acknowledged.
func (l *load) pause(from time.Time) (longest time.Duration) {
	var acked []time.Time
	for _, w := range l.writers {
		w.mu.Lock()
		for _, c := range w.calls {
			if c.acked.After(from) {
				acked = append(acked, c.acked)
			}
		}
		w.mu.Unlock()
	}
	slices.SortFunc(acked, time.Time.Compare)
	for _, at := range append(acked, time.Now()) {
		longest = max(longest, at.Sub(from))
		from = at
	}
	return longest
}
