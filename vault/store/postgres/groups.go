package postgres

import (
	"context"
	"sync"
	"time"
)

// Limits of groups.
const (
	groupMembers = 64        // in a group
	groupBytes   = 512 << 10 // that Updates of a group write: a long COMMIT would hold up those beside it

	groupTurn     = 50 * time.Millisecond // that a group keeps others from beginning, so that a connection that hangs does not hold up all
	groupPatience = 50 * time.Millisecond // with an f of a member, which is to be short, when others wait for that
)

// groups has small Updates that come at about the same time share a transaction, or small Views a snapshot: one statement reads for
// all, and of Updates one writes, and one COMMIT answers. Nobody waits for others to come. Who finds no group under way begins one; who
// does not is gathered into the next: the more there is to do, the more share a transaction, and it costs the server no more.
//
// Members take effect in the order of their coming. Each f reads the state before the group: so an Update that has read what one
// before it writes does not count, and runs again in a transaction of its own. So do all when the group's is known to have written
// nothing. What is wrong with one is thus settled by its own transaction, and only the lost answer to a COMMIT is that of all who wrote.
type groups struct {
	store  *Store
	writes bool // of Updates
	keys   int  // that a group of Updates reads: what the server locks one by one

	mu      sync.Mutex // guards the stages and the places of members, too
	waiting []*member  // for a group to begin
	held    bool       // a group keeps others from beginning: of Updates until it has ended, of Views until it has read once
}

// reach notes that a member has come to a stage; false when its group has gone on without it. One that is in no group waits for one, and
// begins it if that is free.
func (g *groups) reach(m *member, at stage) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m.stage {
	case late:
		return false
	case running:
		m.group.rest(at == waiting)
	}
	m.stage = at
	if m.group != nil {
		return true
	}
	g.waiting = append(g.waiting, m)
	if !g.held {
		g.held = true
		g.next()
	}
	return true
}

// leave takes a member out of its group, or from among those who wait for one, and reports that; not when what it writes is on the way, or it
// has its outcome.
func (g *groups) leave(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.stage == counted || m.stage == settled {
		return false
	}
	if m.stage == running {
		m.group.rest(false)
	}
	m.stage = gone
	if m.group != nil && !m.group.counts() {
		m.group.cancel()
	}
	return true
}

// forgo takes a member from among those who wait for a group to begin.
func (g *groups) forgo(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.group != nil {
		return false
	}
	m.stage = gone
	return true
}

// over reports whether a member that has left was the last of its group.
func (g *groups) over(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return m.group != nil && !m.group.counts()
}

// next begins the next group, if anybody waits for it. The lock is held.
func (g *groups) next() {
	o := &group{groups: g, locked: map[string]bool{}, changed: make(chan struct{}, 1), over: make(chan struct{})}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	for len(g.waiting) > 0 {
		m := g.waiting[0]
		if m.stage != gone && !o.admit(m) {
			break
		}
		g.waiting[0], g.waiting = nil, g.waiting[1:]
	}
	if len(o.members) == 0 {
		o.cancel()
		g.waiting, g.held = nil, false
		return
	}
	o.holds = true
	o.turn = time.AfterFunc(groupTurn, o.pass)
	g.store.running.Go(o.carryOut) // for which Close waits; it does not yet, as a member is running
}
