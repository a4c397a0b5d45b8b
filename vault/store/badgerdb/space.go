package badgerdb

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

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
// stops while there is still room for all that Badger will do on its own, a flush and compactions. What that is may jump
// when levels change, by no more than all tables there are and in practice by no more than a few memtables: each urgency
// but the last keeps such a jump free for the next (see jump), so that a block is not refused because of a compaction.
type space struct {
	db   *badger.DB
	opt  Options
	logs logs

	free   int64
	need   int64
	jump   int64 // how much need may grow by itself
	tables int64 // of need, what is for making tables
	exact  bool  // need is without what is underway
	err    error
}

// maxJump bounds what is kept free against jumps, in a store of any size.
const maxJump = 8 * memTable

func newSpace(db *badger.DB, opt Options) (space, error) {
	l, err := findLogs(opt.Dir)
	return space{db: db, opt: opt, logs: l}, err
}

// sample measures, once for a group.
func (s *space) sample() {
	s.free, s.err = s.opt.Free(s.opt.Dir)
	if s.err == nil {
		s.need, s.err = s.logs.size()
	}
	levels := s.db.Levels()
	s.tables = background(levels)
	s.need += s.tables
	s.jump = min(total(levels), maxJump)
	s.exact = false
}

// check refuses an Update of urgency u when too little is free.
func (s *space) check(u store.Urgency) error {
	reserve := s.opt.Reserve.NewData + 2*s.jump
	switch u {
	case store.Reading:
		reserve = s.opt.Reserve.Reading + s.jump
	case store.Vital:
		reserve = s.opt.Reserve.Vital
	}
	if s.err == nil && s.free < s.need+reserve && !s.exact {
		s.refine()
	}
	if s.err != nil {
		return fmt.Errorf("%w: cannot measure it: %w", store.ErrNoSpace, s.err)
	}
	if s.free < s.need+reserve {
		return fmt.Errorf("%w: %d MiB of %d MiB", store.ErrNoSpace, s.free>>20, (s.need+reserve)>>20)
	}
	return nil
}

// refine takes off need what a flush or compaction that is underway has written already: it is gone from free, and
// without this a block would be refused on a disk that is merely being compacted. It looks at every table, so it is
// left until space seems short.
func (s *space) refine() {
	s.exact = true
	before := total(s.db.Levels())
	paths, err := filepath.Glob(filepath.Join(s.opt.Dir, "*.sst"))
	if err != nil {
		s.err = err
		return
	}
	underway := int64(0)
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err == nil { // else it has just been removed
			underway += st.Blocks * 512
		}
	}
	underway -= max(before, total(s.db.Levels())) // a compaction may have ended meanwhile
	s.need -= min(s.tables, max(0, underway))
}

// total returns the bytes in all tables.
func total(levels []badger.LevelInfo) (size int64) {
	for _, l := range levels {
		size += l.Size
	}
	return size
}

// background returns the bytes that Badger may take before it gives any back, beside a table for each log there is: a
// table being flushed, while its log is still there; a compaction of level 0, which rewrites all of it and of the level
// below; and one more compaction further down, of one table and those it overlaps.
func background(levels []badger.LevelInfo) int64 {
	const fanout = 10 // a level is at most this much larger than the one above
	need := int64(memTable)
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

// logs follows the logs of memtables that are not flushed. Badger numbers them in order.
type logs struct {
	dir            string
	oldest, newest int
}

func findLogs(dir string) (logs, error) {
	l := logs{dir: dir}
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, path := range paths { // sorted
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".mem"))
		if err != nil {
			return l, fmt.Errorf("badgerdb: the name of a log: %w", err)
		}
		if l.oldest == 0 {
			l.oldest = n
		}
		l.newest = max(l.newest, n)
	}
	return l, err
}

// size returns the bytes that the logs take on the disk.
func (l *logs) size() (total int64, err error) {
	for n := l.oldest; n <= l.newest+1; n++ {
		var st unix.Stat_t
		switch err := unix.Stat(filepath.Join(l.dir, fmt.Sprintf("%05d.mem", n)), &st); {
		case err == unix.ENOENT && n == l.oldest && n < l.newest:
			l.oldest++ // flushed
		case err == unix.ENOENT:
		case err != nil:
			return 0, fmt.Errorf("stat of a log: %w", err)
		default:
			total += st.Blocks * 512
			l.newest = max(l.newest, n)
		}
	}
	return total, nil
}
