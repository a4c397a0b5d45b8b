package badgerdb

import (
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/store"
)

// freeSpace returns the bytes an unprivileged process may still write to the disk that holds dir.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// space decides whether the disk has room for an Update.
//
// Badger writes through memory maps of sparse files: on a full disk it does not get an error but SIGBUS. So writing
// stops while there is still room for all that Badger will do on its own: fill and flush memtables, and compact.
type space struct {
	db  *badger.DB
	opt Options

	free int64
	need int64
	err  error
}

// sample measures once for a group.
func (s *space) sample() {
	s.free, s.err = s.opt.Free(s.opt.Dir)
	s.need = background(s.db.Levels())
}

// check refuses an Update of urgency u when too little is free.
func (s *space) check(u store.Urgency) error {
	reserve := s.opt.Reserve.NewData
	switch u {
	case store.Reading:
		reserve = s.opt.Reserve.Reading
	case store.Vital:
		reserve = s.opt.Reserve.Vital
	}
	if s.err != nil {
		return fmt.Errorf("%w: cannot measure it: %w", store.ErrNoSpace, s.err)
	}
	if s.free < s.need+reserve {
		return fmt.Errorf("%w: %d MiB of %d MiB", store.ErrNoSpace, s.free>>20, (s.need+reserve)>>20)
	}
	return nil
}

// background returns the bytes that Badger may take before it gives any back: the log of the memtable that fills, the
// table of the one being flushed, a compaction of level 0 (which rewrites all of it and of the level below), and one
// more compaction further down (one table and those it overlaps, at most what a level is larger than the one above).
func background(levels []badger.LevelInfo) int64 {
	const memTables, fanout = 2, 10
	need := int64(memTables * memTable)
	deeper := int64(0)
	for i, l := range levels {
		if l.Level == 0 || l.IsBaseLevel {
			need += l.Size
			continue
		}
		if above := levels[i-1]; above.Level > 0 {
			deeper = max(deeper, min(above.Size+l.Size, (1+fanout)*l.TargetFileSize))
		}
	}
	return need + deeper
}
