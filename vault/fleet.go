package vault

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// Nodes is for a store that several processes work on at once.
type Nodes struct {
	// Name is what operators call this process, such as the name of its host. It need not be unique.
	Name string
	// Version is what the process runs.
	Version string
	// Term is for how long a node that is out of touch with the store goes on by itself; default 6 s. All nodes have the same.
	Term time.Duration
}

const defaultTerm = 6 * time.Second

// fleet is the nodes at work on one store: who they are, which of them leads, and what they tell each other.
//
// # Being one of them
//
// A node has a row, which it rewrites six times a term: its beat. It trusts itself for one term from the moment at which its last
// beat began: after that it answers nothing (hold), until it has beaten again. The others go on without a node when they have
// seen its row unchanged for a term and a half. Everybody measures with a clock of their own, and nobody compares the clocks of
// two machines; what is assumed is that in one term no clock runs half as fast again as another. A node that was stopped for
// long, or that could not reach the store, finds on its return that it had lapsed: it forgets every open key, refuses every
// permit from before, cuts what it streams, and only then is one of the nodes again.
//
// # Leading
//
// One row names the leader and its fence, a number that grows with every change. The leader alone does the vault's own work: the
// sweeper's steps, the sequencer, the index, the schedules. Every Update of that work expects the row as it is (fenced), so
// whoever was paused and is not the leader any more writes nothing. What it does beyond the store is safe by itself: keys are
// destroyed only that the ledger lists, and destroying one twice is the same as once.
//
// A node's row says when it does not reach the keys or the ledger, or could not write to the ledger or its anchor. A leader of which that
// is so for ten terms gives the lead up, if there is a node of which it is not, and a node of which it is so takes no lead while there is
// one. Nobody gives up what nobody could do better. Whether it can write shows a node only while it leads, so after a hundred terms
// without a try nothing is said of it.
//
// # Telling
//
// What one node tells the others is a notice: whose keys to forget, and whose streams to cut. Each node looks for notices ten times
// a second and names in its row those it has carried out. Whoever told it waits until every node has, or has lapsed.
//
// A process that has the store to itself has no rows: it leads, and has nobody to tell.
type fleet struct {
	service *Service
	id      kms.ID // of this process
	term    time.Duration
	alone   bool

	mu    sync.Mutex
	seen  map[kms.ID]sighting    // owned by mu
	heard map[noticeID]time.Time // what this node has carried out, and when; owned by tend
	title []byte                 // as the last look showed it; owned by tend

	beaten atomic.Pointer[time.Time] // when the last beat began that stands; nil before the first
	lapses atomic.Uint64             // how often it has found that the others may have gone on without it
	fence  atomic.Uint64             // by which this node leads; 0: it does not
	able   abilities                 // to do the leader's work
}

// nodeRow is a node.
type nodeRow struct {
	Name    string     `cbor:"1,keyasint"`
	Version string     `cbor:"2,keyasint,omitempty"`
	Since   stamp      `cbor:"3,keyasint"`
	Beat    uint64     `cbor:"4,keyasint"`
	Heard   []noticeID `cbor:"5,keyasint,omitempty"` // notices that it has carried out
	Latest  uint32     `cbor:"6,keyasint"`           // form of rows that it knows: see latestFormat
	Unable  bool       `cbor:"7,keyasint,omitempty"` // it cannot do a leader's work: see abilities
}

// sighting is a row of a node as it was first seen.
type sighting struct {
	row  []byte
	when time.Time
}

// survey is what one look at the rows showed.
type survey struct {
	nodes     map[kms.ID]*nodeRow
	raw       map[kms.ID][]byte
	notices   map[noticeID]*noticeRow
	leader    *leaderRow
	leaderRaw []byte
	rules     []byte // which rules the store is at
	title     []byte
}

// What a node's row, a notice and the leader's row lie under, after kindFleet.
const (
	fleetLeader = 'l'
	fleetNode   = 'n'
	fleetNotice = 't'
)

func (l layout) fleetLeader() []byte           { return l.key(kindFleet, []byte{fleetLeader}) }
func (l layout) fleetNode(n kms.ID) []byte     { return l.key(kindFleet, []byte{fleetNode}, n[:]) }
func (l layout) fleetNotice(n noticeID) []byte { return l.key(kindFleet, []byte{fleetNotice}, n[:]) }

func (f *fleet) init(s *Service) {
	f.service, f.id = s, kms.NewID()
	f.seen, f.heard = map[kms.ID]sighting{}, map[noticeID]time.Time{}
	if f.alone = s.Nodes == nil; f.alone {
		return
	}
	f.term = cmp.Or(s.Nodes.Term, defaultTerm)
	f.able.term = f.term
	s.Store = fencedStore{s.Store, f}
}

// errLapsed answers whatever is asked of a node that the others may have gone on without.
var errLapsed = fault.New(fault.Unavailable, "this node is out of touch with the store, and with the other nodes: ask again")

// hold is why this node may give out and acknowledge nothing, or nil.
func (f *fleet) hold() error {
	if f.alone {
		return nil
	}
	if at := f.beaten.Load(); at == nil || elapsed(*at, f.service.Clock()) >= f.term {
		return errLapsed
	}
	return nil
}

// since is hold for what was begun when there had been that many lapses: whoever lapsed meanwhile, and is one of the nodes again, may
// not answer by what it knew before.
func (f *fleet) since(lapses uint64) error {
	if err := f.hold(); err != nil { // before the count: a lapse is counted before the beat that ends it
		return err
	}
	if f.lapses.Load() != lapses {
		return errLapsed
	}
	return nil
}

// Lapsing tells from now on whether the other nodes may have gone on without this one since: then nothing of what was decided
// meanwhile may be given out or acknowledged any more.
func (s *Service) Lapsing() (lapsed func() bool) {
	lapses := s.fleet.lapses.Load()
	return func() bool { return s.fleet.since(lapses) != nil }
}

// elapsed is the time between two readings of the clock, by whichever of the monotonic and the wall clock says more: one may stand
// still while the machine does, the other may be set back.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)).Abs())
}

// join makes this process one of the nodes, before it opens any key.
func (f *fleet) join(ctx context.Context) error {
	if f.alone {
		return nil
	}
	if err := f.tend(ctx); err != nil {
		return err
	}
	return f.tend(ctx) // and has it lead at once when nobody else is there
}

// until keeps this process one of the nodes until ctx ends.
func (f *fleet) until(ctx context.Context) {
	if f.alone {
		return
	}
	timer := time.NewTicker(f.term / 60)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, f.term)
		err := f.tend(limited)
		cancel()
		if err != nil && f.hold() != nil {
			f.service.complain(ctx, "keep in touch with the other nodes", err)
		}
	}
}

// leave has the others go on at once. What this process had open must be closed.
func (f *fleet) leave(ctx context.Context) error {
	if f.alone {
		return nil
	}
	f.beaten.Store(nil)
	fence := f.fence.Swap(0)
	rows := f.service.rows
	return f.service.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		if err := f.vacate(w, fence); err != nil {
			return err
		}
		return w.Delete(rows.fleetNode(f.id))
	})
}

// tend looks around once, and does what is to be done: carries out notices, beats, leads when nobody does, and as the leader sees
// to the rows of nodes that are gone.
func (f *fleet) tend(ctx context.Context) error {
	ctx = store.With(ctx, store.Vital)
	began := f.service.Clock()
	now, err := f.look(ctx)
	if err != nil {
		return err
	}
	f.sight(now, f.service.Clock())
	news := f.listen(now, began)
	if last := f.beaten.Load(); news || last == nil || now.raw[f.id] == nil || elapsed(*last, began) >= f.term/6 {
		if err := f.beat(ctx, now); err != nil {
			return err
		}
	}
	return f.head(ctx, now, began)
}

// look reads the rows.
func (f *fleet) look(ctx context.Context) (*survey, error) {
	s := f.service
	var now *survey
	err := s.Store.View(ctx, func(r store.Reader) error {
		now = &survey{nodes: map[kms.ID]*nodeRow{}, raw: map[kms.ID][]byte{}, notices: map[noticeID]*noticeRow{}}
		meta, err := r.Get(s.rows.meta(metaRules), s.rows.meta(metaTitle))
		if err != nil {
			return err
		}
		if err := s.atForm(r); err != nil {
			return err
		}
		now.rules, now.title = bytes.Clone(meta[0]), bytes.Clone(meta[1])
		prefix := s.rows.key(kindFleet)
		return scanAll(r, prefix, func(p store.Pair) (err error) {
			switch id := p.Key[len(prefix)+1:]; p.Key[len(prefix)] {
			case fleetLeader:
				now.leaderRaw = bytes.Clone(p.Value)
				now.leader, err = decodeRow[leaderRow](p.Value)
			case fleetNode:
				now.raw[kms.ID(id)] = bytes.Clone(p.Value)
				now.nodes[kms.ID(id)], err = decodeRow[nodeRow](p.Value)
			case fleetNotice:
				now.notices[noticeID(id)], err = decodeRow[noticeRow](p.Value)
			}
			return err
		})
	})
	return now, err
}

// sight notes since when the rows of the others have been as they are: at is after they were read, so that whoever is stopped between
// the two takes no old time for a new row.
func (f *fleet) sight(now *survey, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, raw := range now.raw {
		if was, ok := f.seen[id]; !ok || !bytes.Equal(was.row, raw) {
			f.seen[id] = sighting{raw, at}
		}
	}
	maps.DeleteFunc(f.seen, func(id kms.ID, _ sighting) bool { return now.raw[id] == nil })
}

// lapsed reports whether the others go on without a node, whose row was raw at a moment: at is before it was read, so that whoever is
// stopped between the two takes no old row for one of now. Only elapsed time since this node has seen that row counts, by this
// node's monotonic clock.
func (f *fleet) lapsed(id kms.ID, raw []byte, at time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was, ok := f.seen[id]
	return ok && bytes.Equal(was.row, raw) && at.Sub(was.when) >= f.term+f.term/2
}

// beat rewrites this node's row. A node that had lapsed forgets first what it knew when it was one of them.
func (f *fleet) beat(ctx context.Context, now *survey) error {
	s := f.service
	began := s.Clock()
	if f.hold() != nil || now.raw[f.id] == nil { // the others say that it has, whatever its clocks say
		s.forgetAll()
	}
	err := s.Store.Update(ctx, func(w store.Writer) error {
		key := s.rows.fleetNode(f.id)
		row, err := getRow[nodeRow](w, key)
		if err != nil {
			return err
		}
		if row == nil {
			if err := s.atForm(w); err != nil { // it may have been taken on while this node was away
				return err
			}
			row = &nodeRow{Name: s.Nodes.Name, Version: s.Nodes.Version, Since: stampOf(began), Latest: s.latest}
		}
		row.Beat++
		_, _, row.Unable = f.lacks()
		row.Heard = row.Heard[:0]
		for id := range now.notices {
			if _, ok := f.heard[id]; ok {
				row.Heard = append(row.Heard, id)
			}
		}
		slices.SortFunc(row.Heard, func(a, b noticeID) int { return bytes.Compare(a[:], b[:]) })
		return w.Set(key, encodeRow(row))
	})
	if err != nil {
		return err
	}
	if f.hold() != nil && f.beaten.Load() != nil {
		s.forgetAll() // it lapsed while it was written that it had not
	}
	f.beaten.Store(&began)
	return nil
}

// tidy removes the rows of nodes that have lapsed, and notices that everybody has carried out.
func (f *fleet) tidy(ctx context.Context, now *survey, at time.Time) error {
	s := f.service
	s.Observer.Nodes(len(now.nodes), true)
	ctx, leads := f.lead(ctx)
	if !leads {
		return nil
	}
	var over []*draft
	for id, raw := range now.raw {
		if id != f.id && f.lapsed(id, raw, at) {
			d := &draft{}
			d.expect(s.rows.fleetNode(id), raw)
			d.delete(s.rows.fleetNode(id))
			over = append(over, d)
		}
	}
	for id := range now.notices {
		if _, ok := f.heard[id]; ok && f.allHeard(now, id, at) {
			d := &draft{}
			d.delete(s.rows.fleetNotice(id))
			over = append(over, d)
		}
	}
	if len(over) == 0 {
		return nil
	}
	_, err := commit(ctx, s.Store, over...)
	return err
}

// knows is the latest form of rows that every node knows.
func (f *fleet) knows(r store.Reader) (latest uint32, err error) {
	latest = f.service.latest
	prefix := f.service.rows.key(kindFleet, []byte{fleetNode})
	return latest, scanAll(r, prefix, func(p store.Pair) error {
		row, err := decodeRow[nodeRow](p.Value)
		if err == nil {
			latest = min(latest, row.Latest)
		}
		return err
	})
}

// owners are the processes that keys made ahead may belong to: this one, and the other nodes.
func (f *fleet) owners(r store.Reader) (map[kms.ID]bool, error) {
	owners := map[kms.ID]bool{f.id: true}
	prefix := f.service.rows.key(kindFleet, []byte{fleetNode})
	return owners, scanAll(r, prefix, func(p store.Pair) error {
		owners[kms.ID(p.Key[len(prefix):])] = true
		return nil
	})
}
