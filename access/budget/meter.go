package budget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sandyq/sandyq/access"
)

// Options are the parts of a Meter. Ledger and Now are needed; the zero Mode is Observe.
type Options struct {
	Mode   Mode
	Limits []Limit
	Ledger Ledger
	Now    func() time.Time // asked under a lock: it must not call the Meter
	// Alert is told of an account the first time that a call exceeds it on this node, before that call is answered. It must
	// not block.
	Alert func(Exceeded)
}

// Meter is one node's part of the budgets. It is safe for concurrent use.
type Meter struct {
	mode   Mode
	bounds []bound
	ledger Ledger
	now    func() time.Time
	alert  func(Exceeded)

	mu      sync.Mutex        // never held over the ledger
	latest  int64             // the time in Unix seconds, as far as it is believed; owned by mu
	systems map[string][]slot // a slot for each bound; owned by mu
}

// bound is one window of a limit.
type bound struct {
	limit  *Limit
	window Window
	length int64 // of the window in seconds
	max    int64
}

// account is the account of a system that begins at start.
func (b *bound) account(system string, start int64) Account {
	return Account{Limit: b.limit.Name, System: system, Window: b.window, Start: time.Unix(start, 0).UTC()}
}

// New makes a Meter.
func New(o Options) (*Meter, error) {
	if o.Mode == "" {
		o.Mode = Observe
	}
	if o.Mode != Observe && o.Mode != Enforce {
		return nil, fmt.Errorf("budget: a mode is %s or %s", Observe, Enforce)
	}
	if o.Ledger == nil || o.Now == nil {
		return nil, errors.New("budget: a ledger and a clock are needed")
	}
	if err := check(o.Limits); err != nil {
		return nil, err
	}
	m := &Meter{mode: o.Mode, ledger: o.Ledger, now: o.Now, alert: o.Alert, systems: map[string][]slot{}}
	if m.alert == nil {
		m.alert = func(Exceeded) {}
	}
	limits := slices.Clone(o.Limits)
	for i := range limits {
		for _, w := range Windows() {
			if units := *limits[i].of(w); units > 0 {
				m.bounds = append(m.bounds, bound{&limits[i], w, int64(w.Length() / time.Second), units})
			}
		}
	}
	return m, nil
}

// need is what a call asks of one slot.
type need struct {
	*slot
	bound  *bound
	system string
	units  int64
}

// over reports whether the units do not fit whatever is leased.
func (n *need) over() bool { return n.left < n.units && (n.full || n.units > n.bound.max) }

// usualNeeds is how many needs a call has room for without allocating.
const usualNeeds = 16

// Spend spends the charges of a call by a principal with these roles, all or none. In mode enforce the error is *Exceeded
// when they do not fit, of the longest window that is known to be spent. Any other error is the ledger's, or the context's.
func (m *Meter) Spend(ctx context.Context, roles []access.Role, charges ...Charge) error {
	for _, c := range charges {
		if c.Units < 0 || c.Units > maxUnits {
			return fmt.Errorf("budget: a charge of %d units", c.Units)
		}
	}
	var room [usualNeeds]need
	var shares []share
	for {
		m.mu.Lock()
		leave(shares)
		shares = nil
		now := m.tick()
		needs := m.needs(room[:0], roles, charges)
		news, refusal := m.exceeded(needs, now)
		if refusal == nil {
			shares = spend(needs)
		}
		m.mu.Unlock()
		for _, e := range news {
			m.alert(e)
		}
		if refusal != nil {
			return refusal
		}
		if len(shares) == 0 {
			return nil
		}
		if err := m.await(ctx, shares); err != nil {
			m.mu.Lock()
			leave(shares)
			m.mu.Unlock()
			return err
		}
	}
}

// tick reads the clock. In a new minute it drops what is past.
func (m *Meter) tick() time.Time {
	const minute, day = 60, 24 * 60 * 60
	now := m.now()
	at := now.Unix()
	if at <= m.latest && at > m.latest-day {
		return now
	}
	last := m.latest
	m.latest = at
	if started(last, minute) == started(at, minute) {
		return now
	}
	for system, slots := range m.systems {
		if !slices.ContainsFunc(slots, func(s slot) bool { return s.lease != nil }) && !m.any(slots) {
			delete(m.systems, system)
		}
	}
	return now
}

// any reports whether one of the slots is of a window that lasts.
func (m *Meter) any(slots []slot) bool {
	for i := range slots {
		if slots[i].start == started(m.latest, m.bounds[i].length) {
			return true
		}
	}
	return false
}

// needs adds what the charges ask of each slot to into.
func (m *Meter) needs(into []need, roles []access.Role, charges []Charge) []need {
	for i := range charges {
		c := &charges[i]
		slots := m.systems[c.System]
		if slots == nil {
			slots = make([]slot, len(m.bounds))
			m.systems[c.System] = slots
		}
		var limit *Limit // of the bound before: those of one limit follow one another
		applies := false
		for j := range m.bounds {
			b := &m.bounds[j]
			if b.limit != limit {
				limit, applies = b.limit, c.Units > 0 && b.limit.matches(roles, c)
			}
			if applies {
				slots[j].roll(started(m.latest, b.length))
				into = add(into, need{&slots[j], b, c.System, c.Units})
			}
		}
	}
	return into
}

func add(needs []need, n need) []need {
	for i := range needs {
		if needs[i].slot == n.slot {
			needs[i].units += n.units
			return needs
		}
	}
	return append(needs, n)
}

// exceeded is what is to be alerted of, and why the needs are refused, if they are.
func (m *Meter) exceeded(needs []need, now time.Time) (news []Exceeded, refusal error) {
	var longest *Exceeded
	for i := range needs {
		n := &needs[i]
		if !n.over() {
			continue
		}
		a := n.bound.account(n.system, n.start)
		e := &Exceeded{Account: a, Max: n.bound.max, Units: n.units, RetryAfter: a.End().Sub(now)}
		if longest == nil || e.RetryAfter > longest.RetryAfter {
			longest = e
		}
		if !n.told {
			n.told = true
			news = append(news, *e)
		}
	}
	if longest == nil || m.mode == Observe {
		return news, nil
	}
	return news, longest
}

// spend spends the needs. If there is not enough for all of them, it spends nothing and returns the leases to await.
func spend(needs []need) []share {
	var shares []share
	for i := range needs {
		if n := &needs[i]; n.left < n.units {
			shares = append(shares, n.join())
		}
	}
	if shares != nil {
		return shares
	}
	for i := range needs {
		needs[i].left -= needs[i].units
		needs[i].spent += needs[i].units
	}
	return nil
}
