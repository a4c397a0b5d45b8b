package budget_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sandyq/sandyq/access/budget"
)

func TestNodesTogetherLetExactlyTheLimitPass(t *testing.T) {
	const limit = 10_000
	l := newLedger()
	var passed atomic.Int64
	var work sync.WaitGroup
	for range 3 {
		n := start(t, budget.Enforce, l, budget.Limit{Name: "a", Hour: limit})
		for range 4 {
			work.Go(func() {
				for n.spend(reads(1)) == nil {
					passed.Add(1)
				}
			})
		}
	}
	work.Wait()
	if passed.Load() != limit {
		t.Errorf("%d of %d passed", passed.Load(), limit)
	}
	if l.calls > 200 {
		t.Errorf("%d leases for it", l.calls)
	}
}

func TestRestartRefillsNothing(t *testing.T) {
	const limit, each = 1000, 10
	l := newLedger()
	passed := int64(0)
	for range 20 {
		n := start(t, budget.Enforce, l, budget.Limit{Name: "a", Hour: limit})
		for range each {
			if n.spend(reads(1)) == nil {
				passed++
			}
		}
	}
	if passed > limit || passed < 20*each { // spent in 20 lives: at most half as much again is lost
		t.Errorf("%d of %d passed", passed, limit)
	}
	for range limit {
		n := start(t, budget.Enforce, l, budget.Limit{Name: "a", Hour: limit})
		if n.spend(reads(1)) == nil {
			passed++
		}
	}
	if passed > limit {
		t.Errorf("%d of %d passed", passed, limit)
	}
}

// Whatever the ledger does, wherever clocks stand and however often nodes die, no window of any account passes more than its
// limit, and nothing but its own outcome tells that a call was made.
func TestNoWindowPassesMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { // wrapped: a bubble has no deadline to ask for
			w := &world{ledger: newLedger(), passed: map[budget.Account]int64{}}
			w.ledger.random = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "ledger"), 0))
			w.ledger.faults = rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(rt, "faults")
			w.ledger.slow = rapid.SampledFrom([]time.Duration{0, 20 * time.Millisecond, 2 * time.Minute}).Draw(rt, "slow")
			w.nodes = make([]*member, rapid.IntRange(1, 3).Draw(rt, "nodes"))
			for i := range w.nodes {
				w.restart(rt, i)
			}
			for range rapid.IntRange(1, 30).Draw(rt, "steps") {
				w.step(rt)
			}
			w.work.Wait()
			w.check(rt)
		})
	})
}

// world is several nodes over one ledger.
type world struct {
	ledger *ledger
	nodes  []*member
	work   sync.WaitGroup // calls under way

	mu     sync.Mutex
	passed map[budget.Account]int64 // owned by mu
}

// member is a node and how far its clock is off.
type member struct {
	*budget.Meter
	off atomic.Int64
}

var worldLimits = []budget.Limit{
	{Name: "all", Minute: 40, Hour: 100, Day: 150},
	{Name: "reads", Kind: budget.Read, Minute: 20, Hour: 90},
	{Name: "documents", Kind: budget.Read, Category: "document", Roles: application, Day: 60},
}

func (w *world) restart(rt *rapid.T, i int) {
	n := &member{}
	m, err := budget.New(budget.Options{
		Mode: budget.Enforce, Limits: worldLimits, Ledger: w.ledger,
		Now: func() time.Time { return time.Now().Add(time.Duration(n.off.Load())) },
	})
	if err != nil {
		rt.Fatal(err)
	}
	n.Meter = m
	w.nodes[i] = n
}

// step does something. Calls go on in the background meanwhile.
func (w *world) step(rt *rapid.T) {
	i := rapid.IntRange(0, len(w.nodes)-1).Draw(rt, "node")
	switch rapid.SampledFrom([]string{"call", "call", "call", "wait", "clock", "restart"}).Draw(rt, "step") {
	case "call":
		charges := rapid.SliceOfN(rapid.Custom(drawCharge), 1, 3).Draw(rt, "charges")
		patience := time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "patience ms")) * time.Millisecond
		for range rapid.IntRange(1, 10).Draw(rt, "calls") {
			w.work.Go(func() { w.call(rt, w.nodes[i], patience, charges) })
		}
		synctest.Wait() // so that the node is read before it is replaced
	case "wait":
		time.Sleep(time.Duration(rapid.IntRange(0, 300_000).Draw(rt, "ms")) * time.Millisecond)
	case "clock":
		synctest.Wait()
		w.nodes[i].off.Add(int64(rapid.IntRange(-200, 200).Draw(rt, "minutes off")) * int64(time.Minute))
	case "restart":
		synctest.Wait()
		w.restart(rt, i)
	}
}

func drawCharge(rt *rapid.T) budget.Charge {
	return budget.Charge{
		System:   rapid.SampledFrom([]string{"crm", "erp"}).Draw(rt, "system"),
		Category: rapid.SampledFrom([]string{"contact", "document"}).Draw(rt, "category"),
		Kind:     rapid.SampledFrom([]budget.Kind{budget.Read, budget.Search}).Draw(rt, "kind"),
		Units:    int64(rapid.IntRange(0, 25).Draw(rt, "units")),
	}
}

// call makes a call, and notes where what passed belongs.
func (w *world) call(rt *rapid.T, n *member, patience time.Duration, charges []budget.Charge) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := n.Spend(ctx, application, charges...)
	if _, refused := errors.AsType[*budget.Exceeded](err); err != nil {
		if !refused && !errors.Is(err, errAway) && !errors.Is(err, context.DeadlineExceeded) {
			rt.Errorf("a call ends with %v", err)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range charges {
		for _, left := range n.Left(c.System, application) { // no time has passed since
			if applies(left.Limit, c) {
				a := budget.Account{Limit: left.Limit, System: c.System, Window: left.Window, Start: left.Resets.Add(-left.Window.Length())}
				w.passed[a] += c.Units
			}
		}
	}
}

// applies says the same as worldLimits, in other words.
func applies(limit string, c budget.Charge) bool {
	switch limit {
	case "reads":
		return c.Kind == budget.Read
	case "documents":
		return c.Kind == budget.Read && c.Category == "document"
	}
	return true
}

func (w *world) check(rt *rapid.T) {
	most := map[string]int64{}
	for _, l := range worldLimits {
		for window, n := range map[budget.Window]int64{budget.Minute: l.Minute, budget.Hour: l.Hour, budget.Day: l.Day} {
			most[l.Name+string(window)] = n
		}
	}
	for a, units := range w.passed {
		if limit := most[a.Limit+string(a.Window)]; units > limit || w.ledger.of(a) > limit || w.ledger.of(a) < units {
			rt.Errorf("%v: %d passed, %d leased, of %d", a, units, w.ledger.of(a), limit)
		}
	}
}

// gate holds up what is asked of a ledger, and answers it at a sign.
type gate struct {
	budget.Ledger
	asked  atomic.Int64
	answer chan error
}

func newGate() *gate { return &gate{Ledger: newLedger(), answer: make(chan error)} }

func (g *gate) Take(ctx context.Context, a budget.Account, want, limit int64) (int64, error) {
	g.asked.Add(1)
	select {
	case err := <-g.answer:
		if err != nil {
			return 0, err
		}
		return g.Ledger.Take(ctx, a, want, limit)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func TestCallsAtOnceShareLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		n := start(t, budget.Enforce, g, budget.Limit{Name: "a", Hour: 1000})
		var work sync.WaitGroup
		for range 100 {
			work.Go(func() {
				if err := n.spend(reads(1)); err != nil {
					t.Error(err)
				}
			})
		}
		for range 2 { // one for the first call, one for all that came meanwhile
			synctest.Wait()
			g.answer <- nil
		}
		work.Wait()
		if g.asked.Load() != 2 {
			t.Errorf("%d leases", g.asked.Load())
		}
		close(g.answer)
		n.fits(t, reads(50))
		account := budget.Account{Limit: "a", System: "crm", Window: budget.Hour, Start: noon}
		if leased := g.Ledger.(*ledger).of(account); leased > 200 { // ahead of 150 at most half of the 100 before
			t.Errorf("%d units are leased when 150 are spent", leased)
		}
	})
}

func TestLedgerThatFailsFailsAllWhoWait(t *testing.T) {
	for _, mode := range []budget.Mode{budget.Observe, budget.Enforce} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			n := start(t, mode, g, budget.Limit{Name: "a", Hour: 1000})
			var work sync.WaitGroup
			for range 10 {
				work.Go(func() {
					err := n.spend(reads(1))
					if _, exceeded := errors.AsType[*budget.Exceeded](err); !errors.Is(err, errAway) || exceeded {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			g.answer <- errAway
			work.Wait()
			work.Go(func() {
				if err := n.spend(reads(1)); err != nil {
					t.Error(err)
				}
			})
			g.answer <- nil
			work.Wait()
		})
	}
}

func TestCallThatGivesUpLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		n := start(t, budget.Enforce, g, budget.Limit{Name: "a", Hour: 1000})
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		leave := func(ctx context.Context) {
			if err := n.Spend(ctx, application, reads(1)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		work.Go(func() { leave(ctx) }) // makes the lease
		synctest.Wait()
		impatient, leaves := context.WithCancel(t.Context())
		work.Go(func() { leave(impatient) }) // waits for it
		work.Go(func() {
			if err := n.spend(reads(1)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		leaves()
		synctest.Wait()
		cancel()
		g.answer <- nil
		work.Wait()
		if got := n.Left("crm", nil)[0].Used; got != 1 || g.asked.Load() != 2 {
			t.Errorf("%d spent in %d leases", got, g.asked.Load())
		}
	})
}

func TestLeaseOfAWindowThatHasPassedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		n := start(t, budget.Enforce, g, budget.Limit{Name: "a", Minute: 10})
		var work sync.WaitGroup
		work.Go(func() {
			if err := n.spend(reads(10)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		n.clock.set(noon.Add(time.Minute))
		g.answer <- nil
		g.answer <- nil
		work.Wait()
		close(g.answer)
		n.refused(t, reads(1))
	})
}

// liar answers what no ledger should.
type liar struct{ got int64 }

func (l liar) Take(context.Context, budget.Account, int64, int64) (int64, error) { return l.got, nil }

func TestLedgerThatMakesNoSense(t *testing.T) {
	for _, got := range []int64{-1, 3} {
		n := start(t, budget.Enforce, liar{got}, budget.Limit{Name: "a", Hour: 10})
		if err := n.spend(reads(2)); err == nil {
			t.Errorf("%d units for 2 are taken", got)
		}
	}
	n := start(t, budget.Observe, liar{0}, budget.Limit{Name: "a", Hour: 10})
	if err := n.spend(reads(2)); err == nil {
		t.Error("a bound is taken where there is none")
	}
}

func BenchmarkSpend(b *testing.B) {
	c := budget.Default()
	for i := range c.Limits {
		c.Limits[i].Minute, c.Limits[i].Hour, c.Limits[i].Day = 1e12, 1e12, 1e12
	}
	clock := clock{at: noon}
	m, err := budget.New(budget.Options{Mode: budget.Enforce, Limits: c.Limits, Ledger: newLedger(), Now: clock.now})
	if err != nil {
		b.Fatal(err)
	}
	charges := []budget.Charge{reads(1), {System: "crm", Category: "document", Kind: budget.Read, Units: 2}}
	ctx := context.Background()
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("charges=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Spend(ctx, application, charges[:n]...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
