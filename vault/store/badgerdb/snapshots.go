package badgerdb

import (
	"sync"

	"github.com/sandyq/sandyq/vault/store"
)

// snapshots knows which versions may be read: the newest synced one, and those that running Views hold.
type snapshots struct {
	mu      sync.Mutex
	idle    sync.Cond      // signalled when the last View ends
	newest  uint64         // the newest synced version
	readers map[uint64]int // running Views by version
	closed  bool
}

func newSnapshots(newest uint64) *snapshots {
	s := &snapshots{newest: newest, readers: map[uint64]int{}}
	s.idle.L = &s.mu
	return s
}

func (s *snapshots) acquire() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	s.readers[s.newest]++
	return s.newest, nil
}

func (s *snapshots) release(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers[version]--; s.readers[version] == 0 {
		delete(s.readers, version)
	}
	if len(s.readers) == 0 {
		s.idle.Broadcast()
	}
}

// publish makes version the newest.
func (s *snapshots) publish(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = version
}

// state returns the newest version, and the one up to which older values of a key may be dropped. Neither ever falls,
// because Views only begin at the newest.
func (s *snapshots) state() (newest, droppable uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	droppable = s.newest
	for v := range s.readers {
		droppable = min(droppable, v)
	}
	return s.newest, droppable
}

// close refuses further Views and waits for those that run.
func (s *snapshots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for len(s.readers) > 0 {
		s.idle.Wait()
	}
}
