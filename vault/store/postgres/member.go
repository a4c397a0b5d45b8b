package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/overlay"
)

const (
	memberKeys     = 16          // that a member reads at a time: what reads more would hold up those beside it
	memberPatience = time.Second // for a group to begin
)

// errApart is what f gets when it goes on, in a group, to what a group does not do for it.
var errApart = errors.New("postgres: this Update takes a transaction of its own")

// stage is how far a member is.
type stage int

const (
	single  stage = iota // takes part in no group
	waiting              // for what it asks
	running              // its f runs
	ended                // its f has, and it waits for the outcome
	counted              // what it writes goes out with the group's: its context ends nothing any more
	settled              // it has its outcome
	late                 // its f has taken too long: the group goes on without it
	gone                 // it left: its f failed, or its context ended
)

// member is the first attempt at an Update, or a View. When it begins with a small question it takes part in a group; otherwise it has a
// transaction of its own. It is used by one goroutine; what its group sets is read once the group has told it to go on.
type member struct {
	groups *groups
	ctx    context.Context // of the caller
	own    *tx             // for when it takes part in no group
	joined bool

	told   chan struct{}     // one token: waiting, or ended, is over
	stage  stage             // guarded by groups.mu
	group  *group            // likewise; nil while it waits for one
	asks   question          // what it waits for
	rows   map[string][]byte // what the group has read for all who asked for keys
	pairs  []store.Pair      // or for it, of a range
	read   [][]byte          // the keys that it has asked for
	writes []overlay.Entry   // none when its f has failed

	verdict verdict
	err     error // the first failure, or the outcome
}

// question is what is read in one round trip: the rows of keys, or of a range.
type question struct {
	keys      [][]byte
	scan      bool
	from, end []byte
	limit     int
}

// clone is a copy: a key belongs to who asks, who may change it once there is an answer, or after leaving before that.
func (q question) clone() question {
	for i, key := range q.keys {
		q.keys[i] = bytes.Clone(key)
	}
	q.from = bytes.Clone(q.from)
	return q
}

func (g *groups) member(ctx context.Context, own *tx) *member {
	return &member{groups: g, ctx: ctx, own: own, told: make(chan struct{}, 1)}
}

func (m *member) get(keys [][]byte) ([]store.Pair, error) {
	if !m.ask(question{keys: keys}, len(keys) <= memberKeys) {
		return m.own.get(keys)
	}
	if m.err != nil {
		return nil, m.err
	}
	pairs := make([]store.Pair, 0, len(keys))
	for _, key := range keys {
		if value := m.rows[string(key)]; value != nil {
			pairs = append(pairs, store.Pair{Key: key, Value: value})
		}
	}
	return pairs, nil
}

func (m *member) scan(from, end []byte, limit int) ([]store.Pair, error) {
	if !m.ask(question{scan: true, from: from, end: end, limit: limit}, false) {
		return m.own.scan(from, end, limit)
	}
	return m.pairs, m.err
}

// ask puts a question to the group; false when it is in none, and has to ask by itself.
func (m *member) ask(q question, small bool) bool {
	switch {
	case m.own.line != nil, m.own.err != nil, !m.joined && !small:
		return false
	case m.err != nil:
		return true
	case m.groups.writes && !small:
		m.verdict, m.err = apart, errApart
		return true
	}
	m.asks = q.clone()
	m.read = append(m.read, m.asks.keys...)
	m.await(waiting)
	return m.joined
}

func (m *member) failure() (verdict, error) {
	if m.joined {
		return m.verdict, m.err
	}
	return m.own.failure()
}

// commit waits for the outcome.
func (m *member) commit(writes []overlay.Entry) (verdict, error) {
	if m.own.line == nil && len(m.read)+len(writes) > 0 {
		m.asks, m.writes = question{}, writes
		m.await(ended)
	}
	if m.joined {
		return m.verdict, m.err
	}
	return m.own.commit(writes)
}

// await waits in a stage until that is over. Who has waited too long for a group to begin goes without.
func (m *member) await(at stage) {
	if m.err = m.ctx.Err(); m.err != nil {
		m.joined = true // to nothing
		return
	}
	var late <-chan time.Time
	if !m.joined {
		m.joined = true
		patience := time.NewTimer(memberPatience)
		defer patience.Stop()
		late = patience.C
	}
	if !m.groups.reach(m, at) {
		m.verdict, m.err = apart, errApart
		return
	}
	for {
		select {
		case <-m.told:
			return
		case <-late:
			if m.groups.forgo(m) {
				m.joined = false
				return
			}
		case <-m.ctx.Done():
			if m.groups.leave(m) {
				m.err = m.ctx.Err()
				return
			}
			<-m.told
			return
		}
	}
}

// end leaves a group that counts on it, or ends its own transaction. The last View of a group sees the connection given back.
func (m *member) end() {
	if m.groups.leave(m) && !m.groups.writes && m.ctx.Err() == nil && m.groups.over(m) {
		<-m.group.over
	}
	m.own.end()
}

// settle gives a member its outcome. The lock is held.
func (m *member) settle(v verdict, err error) {
	m.stage, m.verdict, m.err = settled, v, err
	m.told <- struct{}{}
}

// size is what it writes, in bytes and with what each row costs beside.
func (m *member) size() int {
	const row = 64
	size := 0
	for _, e := range m.writes {
		size += row + len(e.Key) + len(e.Value)
	}
	return size
}

// deletes are the keys that it deletes, which the server locks like those that it reads.
func (m *member) deletes() (keys [][]byte) {
	for _, e := range m.writes {
		if e.Deleted {
			keys = append(keys, e.Key)
		}
	}
	return keys
}
