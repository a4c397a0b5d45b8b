package budget_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/vault/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon begins an hour, 12 hours before the end of a day.
var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// clock stands still until it is set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

var (
	application = []access.Role{access.Application}
	support     = []access.Role{access.Support}
)

// reads is a charge of the system crm.
func reads(units int64) budget.Charge {
	return budget.Charge{System: "crm", Purpose: "billing", Category: "contact", Kind: budget.Read, Units: units}
}

// node is a Meter at noon, and what it alerted of.
type node struct {
	*budget.Meter
	clock  *clock
	alerts []budget.Exceeded
}

func start(t *testing.T, mode budget.Mode, l budget.Ledger, limits ...budget.Limit) *node {
	t.Helper()
	n := &node{clock: &clock{at: noon}}
	m, err := budget.New(budget.Options{
		Mode: mode, Limits: limits, Ledger: l, Now: n.clock.now,
		Alert: func(e budget.Exceeded) { n.alerts = append(n.alerts, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Meter = m
	return n
}

func (n *node) spend(charges ...budget.Charge) error {
	return n.Spend(context.Background(), application, charges...)
}

// fits fails the test unless the charges pass.
func (n *node) fits(t *testing.T, charges ...budget.Charge) {
	t.Helper()
	if err := n.spend(charges...); err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless the charges exceed a budget.
func (n *node) refused(t *testing.T, charges ...budget.Charge) *budget.Exceeded {
	t.Helper()
	err := n.spend(charges...)
	e, ok := errors.AsType[*budget.Exceeded](err)
	if !ok {
		t.Fatalf("got %v, want a budget exceeded", err)
	}
	if f := fault.From(err); f.Code != fault.Limited || f.RetryAfter != e.RetryAfter {
		t.Fatalf("its receiver gets %v, to retry after %s", f, f.RetryAfter)
	}
	return e
}

func TestExactlyTheLimitPasses(t *testing.T) {
	for _, units := range []int64{1, 3, 7, 500, 1000} {
		n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Hour: 1000})
		for range 1000 / units {
			n.fits(t, reads(units))
		}
		if rest := 1000 % units; rest > 0 {
			n.refused(t, reads(rest+1))
			n.fits(t, reads(rest))
		}
		n.refused(t, reads(1))
		n.fits(t, reads(0))
	}
}

func TestEachSystemHasItsOwnBudget(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Hour: 10})
	other := reads(10)
	other.System = "erp"
	n.fits(t, reads(10), other)
	n.refused(t, reads(1))
	n.clock.set(noon.Add(time.Hour))
	n.fits(t, reads(10))
}

func TestEveryLimitThatMatchesApplies(t *testing.T) {
	charge := reads(1)
	for name, limit := range map[string]budget.Limit{
		"all":      {},
		"system":   {System: "crm"},
		"role":     {Roles: []access.Role{access.Staff, access.Application}},
		"purpose":  {Purpose: "billing"},
		"category": {Category: "contact"},
		"kind":     {Kind: budget.Read},
	} {
		limit.Name, limit.Hour = name, 1
		n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "wide", Hour: 100}, limit)
		n.fits(t, charge)
		if e := n.refused(t, charge); e.Account.Limit != name {
			t.Errorf("%s: %v", name, e)
		}
	}
	for name, limit := range map[string]budget.Limit{
		"system":   {System: "erp"},
		"role":     {Roles: []access.Role{access.Staff}},
		"purpose":  {Purpose: "marketing"},
		"category": {Category: "document"},
		"kind":     {Kind: budget.Search},
	} {
		limit.Name, limit.Hour = name, 1
		n := start(t, budget.Enforce, newLedger(), limit)
		n.fits(t, charge)
		n.fits(t, charge)
	}
}

func TestChargesAreSpentAllOrNone(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(),
		budget.Limit{Name: "reads", Kind: budget.Read, Minute: 100, Hour: 150},
		budget.Limit{Name: "searches", Kind: budget.Search, Hour: 10})
	search := budget.Charge{System: "crm", Kind: budget.Search, Units: 10}
	n.fits(t, search)
	for range 50 {
		if e := n.refused(t, reads(60), search); e.Account.Limit != "searches" || e.Max != 10 || e.Units != 10 {
			t.Fatal(e)
		}
	}
	n.refused(t, reads(60), reads(60)) // together more than a minute holds
	n.fits(t, reads(100))
	n.clock.set(noon.Add(time.Minute))
	n.refused(t, reads(51)) // fits the minute, not the hour
	n.fits(t, reads(50))
}

func TestRetryAfterIsTheEndOfTheLongestSpentWindow(t *testing.T) {
	limits := []budget.Limit{{Name: "a", Minute: 10, Hour: 20}, {Name: "b", Day: 30}}
	n := start(t, budget.Enforce, newLedger(), limits...)
	at := func(minutes, seconds int) {
		n.clock.set(noon.Add(time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second))
	}
	want := func(window budget.Window, after time.Duration) {
		t.Helper()
		if e := n.refused(t, reads(1)); e.Account.Window != window || e.RetryAfter != after {
			t.Errorf("refused for the %s, for %s; want the %s, for %s", e.Account.Window, e.RetryAfter, window, after)
		}
	}
	at(10, 30)
	n.fits(t, reads(10))
	want(budget.Minute, 30*time.Second)
	at(11, 15)
	n.fits(t, reads(10))
	want(budget.Hour, 48*time.Minute+45*time.Second)
	at(60, 0)
	n.fits(t, reads(10))
	want(budget.Day, 11*time.Hour)
	if e := n.refused(t, reads(31)); e.RetryAfter != 11*time.Hour {
		t.Error(e.RetryAfter)
	}
}

func TestMoreThanAWindowHoldsCostsNothing(t *testing.T) {
	l := newLedger()
	n := start(t, budget.Enforce, l, budget.Limit{Name: "a", Hour: 10})
	e := n.refused(t, reads(11))
	if f := fault.From(e); !strings.Contains(f.Detail, "ask for less") || l.calls != 0 {
		t.Errorf("%v after %d leases", f, l.calls)
	}
	n.fits(t, reads(10))
}

func TestObserveCountsAndLetsPass(t *testing.T) {
	l := newLedger()
	n := start(t, budget.Observe, l, budget.Limit{Name: "a", Minute: 100})
	for range 50 {
		n.fits(t, reads(10))
	}
	if l.calls > 20 {
		t.Errorf("%d leases", l.calls)
	}
	account := budget.Account{Limit: "a", System: "crm", Window: budget.Minute, Start: noon}
	if taken := l.of(account); taken < 500 || taken > 750 {
		t.Errorf("spent 500, counted %d", taken)
	}
	n.clock.set(noon.Add(time.Minute))
	n.fits(t, reads(1000))
	n.fits(t, reads(1000))
	if len(n.alerts) != 2 || n.alerts[0].Account != account || n.alerts[1].Account.Start != noon.Add(time.Minute) {
		t.Errorf("alerted of %v", n.alerts)
	}
	if left := n.Left("crm", nil); left[0].Used != 2000 {
		t.Errorf("left: %v", left)
	}
}

func TestEnforceAlertsOncePerAccountAndWindow(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Minute: 1, Hour: 100})
	for i := range 3 {
		n.clock.set(noon.Add(time.Duration(i) * time.Minute))
		n.fits(t, reads(1))
		n.refused(t, reads(1))
		n.refused(t, reads(1))
	}
	if len(n.alerts) != 3 {
		t.Errorf("alerted of %v", n.alerts)
	}
}

func TestClockThatGoesBackRefillsNothing(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Minute: 10})
	n.fits(t, reads(10))
	later := noon.Add(26 * time.Hour)
	n.clock.set(later)
	n.fits(t, reads(10))
	for _, back := range []time.Duration{time.Second, time.Minute, 23 * time.Hour} {
		n.clock.set(later.Add(-back))
		if e := n.refused(t, reads(1)); e.RetryAfter != back+time.Minute {
			t.Errorf("back by %s: retry after %s", back, e.RetryAfter)
		}
	}
	n.clock.set(noon.Add(time.Second)) // back by more than a day: believed, but that minute is spent
	if e := n.refused(t, reads(1)); e.RetryAfter != 59*time.Second {
		t.Error(e.RetryAfter)
	}
	n.clock.set(noon.Add(time.Minute))
	n.fits(t, reads(10))
	n.clock.set(later)
	n.refused(t, reads(1))
}

func TestPastWindowsAreForgotten(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Minute: 10}, budget.Limit{Name: "b", System: "crm", Day: 10})
	for i := range 1000 {
		c := reads(1)
		c.System = fmt.Sprintf("system %d", i)
		n.fits(t, c)
	}
	n.fits(t, reads(9))
	n.clock.set(noon.Add(time.Minute))
	n.refused(t, reads(2))
	if n.Systems() != 1 {
		t.Errorf("%d systems are kept", n.Systems())
	}
}

func TestLeft(t *testing.T) {
	l := newLedger()
	limits := []budget.Limit{
		{Name: "a", Roles: application, Kind: budget.Read, Minute: 100, Hour: 200},
		{Name: "b", Roles: support, Day: 10},
		{Name: "c", System: "erp", Day: 10},
	}
	n, other := start(t, budget.Enforce, l, limits...), start(t, budget.Enforce, l, limits...)
	n.fits(t, reads(30))
	other.fits(t, reads(100-30))
	n.refused(t, reads(1))
	want := []budget.Left{
		{Limit: "a", Kind: budget.Read, Window: budget.Minute, Max: 100, Used: 100, Resets: noon.Add(time.Minute)},
		{Limit: "a", Kind: budget.Read, Window: budget.Hour, Max: 200, Used: 30, Resets: noon.Add(time.Hour)},
	}
	if got := n.Left("crm", application); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	n.clock.set(noon.Add(time.Hour))
	for _, left := range n.Left("crm", application) {
		if left.Used != 0 || left.Resets.Before(noon.Add(time.Hour)) {
			t.Errorf("an hour later: %v", left)
		}
	}
}

func TestWhatIsRefusedFromTheStart(t *testing.T) {
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Hour: 10})
	for _, units := range []int64{-1, 1_000_000_000_001} {
		if err := n.spend(reads(units)); err == nil || errors.Is(err, fault.Limited) {
			t.Errorf("%d units: %v", units, err)
		}
	}
	whole := budget.Options{Ledger: newLedger(), Now: n.clock.now}
	for name, change := range map[string]func(*budget.Options){
		"no ledger": func(o *budget.Options) { o.Ledger = nil },
		"no clock":  func(o *budget.Options) { o.Now = nil },
		"a mode":    func(o *budget.Options) { o.Mode = "warn" },
		"a limit":   func(o *budget.Options) { o.Limits = []budget.Limit{{Name: "a"}} },
	} {
		o := whole
		change(&o)
		if _, err := budget.New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := budget.New(whole); err != nil {
		t.Error(err)
	}
}
