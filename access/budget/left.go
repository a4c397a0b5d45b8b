package budget

import (
	"time"

	"github.com/sandyq/sandyq/access"
)

// Left is what stands of one window of a limit, as this node knows it.
type Left struct {
	Limit  string
	Kind   Kind // empty: of every kind
	Window Window
	Max    int64
	Used   int64 // what this node has spent; when all nodes have leased the whole, all that this one cannot spend
	Resets time.Time
}

// Left lists what stands of the limits that apply to a principal, in their order.
func (m *Meter) Left(system string, roles []access.Role) []Left {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick()
	slots := m.systems[system]
	var all []Left
	for i := range m.bounds {
		b := &m.bounds[i]
		if !b.limit.admits(roles) || b.limit.System != "" && b.limit.System != system {
			continue
		}
		start := started(m.latest, b.length)
		l := Left{Limit: b.limit.Name, Kind: b.limit.Kind, Window: b.window, Max: b.max, Resets: b.account(system, start).End()}
		if slots != nil && slots[i].start == start {
			l.Used = slots[i].used(b.max)
		}
		all = append(all, l)
	}
	return all
}

// used is how much of a window that holds limit units is used, as far as is known.
func (s *slot) used(limit int64) int64 {
	if s.full && s.spent <= limit {
		return limit - min(s.left, limit)
	}
	return s.spent
}
