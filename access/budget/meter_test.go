package budget_test

import (
	"context"
	"errors"
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
	n := start(t, budget.Enforce, newLedger(), budget.Limit{Name: "a", Hour: 1000})
	for range 1000 {
		n.fits(t, reads(1))
	}
	n.refused(t, reads(1))
}
