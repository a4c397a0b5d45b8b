package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/overlay"
)

// group is some Updates in one transaction, or some Views of one snapshot.
type group struct {
	groups  *groups
	members []*member       // in the order in which they take effect
	ctx     context.Context // ends when nobody counts on the group any more
	cancel  context.CancelFunc
	locked  map[string]bool // the keys that the server locks; guarded by groups.mu
	changed chan struct{}   // one token: a member asks, or no f runs any more
	over    chan struct{}   // closed when the connection is given back
	busy    int             // members whose f runs; guarded by groups.mu
	holds   bool            // others from beginning; likewise
	turn    *time.Timer     // ends that
}

// admit takes a member in, if there is room. The lock is held.
func (o *group) admit(m *member) bool {
	if n := len(o.members); n == groupMembers || n > 0 && !o.room(m.asks.keys) {
		return false
	}
	o.lock(m.asks.keys)
	m.group = o
	o.members = append(o.members, m)
	return true
}

// room reports whether the server would still lock one by one if it had to lock these, too. The lock is held.
func (o *group) room(keys [][]byte) bool {
	n := len(o.locked)
	for _, key := range keys {
		if !o.locked[string(key)] {
			n++
		}
	}
	return n <= o.groups.keys
}

// lock notes what the server locks. The lock is held.
func (o *group) lock(keys [][]byte) {
	for _, key := range keys {
		o.locked[string(key)] = true
	}
}

// counts reports whether anybody still counts on the group. The lock is held.
func (o *group) counts() bool {
	return slices.ContainsFunc(o.members, func(m *member) bool { return m.stage != gone && m.stage != late && m.stage != settled })
}

// carryOut answers what the members ask until they have ended, and, if they are Updates, writes and commits. The connection is free
// before anybody gets an outcome.
func (o *group) carryOut() {
	g := o.groups
	defer o.cancel()
	t := &tx{s: g.store, ctx: o.ctx, writes: g.writes}
	if !g.writes {
		patience, cancel := context.WithTimeout(t.ctx, g.store.opt.Patience)
		defer cancel()
		t.patience = patience
	}
	defer o.pass()
	for asking := o.asking(); len(asking) > 0; asking = o.asking() {
		if err := o.answer(t, asking); err != nil {
			o.settle(t.failure())
		}
		if !g.writes {
			o.pass()
		}
	}
	v, err := t.failure()
	if err == nil && g.writes {
		v, err = t.commit(o.gather())
	}
	t.end()
	close(o.over)
	o.settle(v, err)
}

// pass lets another group begin, once.
func (o *group) pass() {
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	if o.holds {
		o.holds = false
		o.turn.Stop()
		o.groups.next()
	}
}

// asking waits until members ask, and returns them; none once all have ended. It gives those who are about to ask, too, the time for that.
func (o *group) asking() (all []*member) {
	for {
		before := len(all)
		var busy int
		all, busy = o.look()
		switch {
		case busy == 0:
			return all
		case len(all) == 0:
			o.wait()
		case len(all) == before:
			return all
		default:
			runtime.Gosched()
		}
	}
}

// wait waits for the next member to ask, or the last f to have ended; of Updates, which wait for each other, not for long.
func (o *group) wait() {
	if !o.groups.writes {
		<-o.changed
		return
	}
	patience := time.NewTimer(groupPatience)
	defer patience.Stop()
	select {
	case <-o.changed:
	case <-patience.C:
		o.goOn()
	}
}

// goOn leaves behind those whose f runs, if others wait for that.
func (o *group) goOn() {
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	ended := slices.ContainsFunc(o.members, func(m *member) bool { return m.stage == ended })
	if !ended && len(o.groups.waiting) == 0 {
		return
	}
	for _, m := range o.members {
		if m.stage == running {
			m.stage = late
			o.busy--
		}
	}
}

// look finds who asks. Of Updates, who asks for more than the server locks one by one has to do so apart.
func (o *group) look() (asking []*member, busy int) {
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	for _, m := range o.members {
		switch {
		case m.stage != waiting:
		case o.groups.writes && len(o.members) > 1 && !o.room(m.asks.keys):
			m.settle(apart, errApart)
		default:
			o.lock(m.asks.keys)
			asking = append(asking, m)
		}
	}
	return asking, o.busy
}

// answer reads for those who ask, in one round trip, and lets them go on.
func (o *group) answer(t *tx, asking []*member) error {
	var keys [][]byte
	rows := map[string][]byte{}
	for _, m := range asking {
		for _, key := range m.asks.keys {
			if _, ok := rows[string(key)]; !ok {
				rows[string(key)] = nil
				keys = append(keys, key)
			}
		}
	}
	var queries []query
	if len(keys) > 0 {
		queries = append(queries, getting(keys))
	}
	for _, m := range asking {
		if m.asks.scan {
			queries = append(queries, scanning(m.asks.from, m.asks.end, m.asks.limit))
		}
	}
	answers, err := t.query(queries...)
	if err != nil {
		return err
	}
	if len(keys) > 0 {
		for _, p := range answers[0] {
			rows[string(p.Key)] = p.Value
		}
		answers = answers[1:]
	}
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	for _, m := range asking {
		var pairs []store.Pair
		if m.asks.scan {
			pairs, answers = answers[0], answers[1:]
		}
		if m.stage == waiting {
			m.stage, m.rows, m.pairs = running, rows, pairs
			o.busy++
			m.told <- struct{}{}
		}
	}
	return nil
}

// rest notes that a member's f waits, or has ended. The lock is held.
func (o *group) rest(asks bool) {
	if o.busy--; o.busy == 0 || asks {
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}
}

// gather puts together what the members write, in the order of the keys, as far as they have read what those before them left as it was.
func (o *group) gather() []overlay.Entry {
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	at := map[string]int{} // places in all
	var all []overlay.Entry
	size := 0
	for _, m := range o.members {
		if m.stage != ended {
			continue
		}
		switch {
		case slices.ContainsFunc(m.read, func(key []byte) bool { _, written := at[string(key)]; return written }):
			m.settle(conflict, fmt.Errorf("%w: another has written first", store.ErrUnavailable))
			continue
		case size > 0 && size+m.size() > groupBytes, len(o.members) > 1 && !o.room(m.deletes()):
			m.settle(apart, errApart)
			continue
		}
		m.stage = counted
		o.lock(m.deletes())
		size += m.size()
		for _, e := range m.writes {
			if i, ok := at[string(e.Key)]; ok {
				all[i] = e
				continue
			}
			at[string(e.Key)] = len(all)
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b overlay.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return all
}

// settle answers whoever still waits for the transaction. When that is known to have written nothing, it is nobody's outcome.
func (o *group) settle(v verdict, err error) {
	o.groups.mu.Lock()
	defer o.groups.mu.Unlock()
	unknown := v == final && errors.Is(err, store.ErrUnavailable)
	for _, m := range o.members {
		switch {
		case m.stage != waiting && m.stage != ended && m.stage != counted:
		case o.groups.writes && v == final && err != nil && !(unknown && len(m.writes) > 0):
			m.settle(apart, err)
		default:
			m.settle(v, err)
		}
	}
}
