package badgerdb

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/sandyq/sandyq/vault/store"
)

var _ store.Residual = (*Store)(nil)

// Mark implements store.Residual: the version of the newest group.
func (s *Store) Mark() (store.Mark, error) {
	if err := s.Err(); err != nil {
		return 0, err
	}
	newest, _ := s.snapshots.state()
	return store.Mark(newest), nil
}

// Residue implements store.Residual.
func (s *Store) Residue() (store.Residue, bool) {
	r := s.residue.Load()
	if r == nil {
		return store.Residue{}, false
	}
	return *r, true
}

// maxTouched bounds how many keys one Compact writes again, and so what that costs. One is enough for all that is in the
// same table.
const maxTouched = 1000

// census is a measurement under way.
type census struct {
	store.Residue
	due   uint64   // what groups up to this one removed should be gone
	stuck [][]byte // keys of which something of that is left, at most maxTouched
}

// measure counts what all tables and logs hold beside what is current, and returns keys of which there is something left
// that groups up to began removed, and that no View needs. It reads the keys of the whole store. A table that is damaged
// reads as one that ends early (see Verify), so the tables are verified before. The caller holds compacting.
func (s *Store) measure(ctx context.Context, began uint64) (stuck [][]byte, err error) {
	_, droppable := s.snapshots.state()
	version, err := s.snapshots.acquire()
	if err != nil {
		return nil, err
	}
	defer s.snapshots.release(version)
	// The folder before the tables: a file that is made meanwhile holds nothing but what is read here.
	files, err := s.dataFiles()
	if err != nil {
		return nil, err
	}
	txn := s.db.NewTransactionAt(version, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{AllVersions: true, Prefix: []byte{dataPrefix}})
	c := &census{due: min(began, droppable), Residue: store.Residue{Clean: store.Mark(version), At: s.opt.Clock()}}
	err = c.read(ctx, it)
	it.Close() // which lets go of files, too
	if err != nil {
		return nil, err
	}
	if c.Files, err = s.leftFiles(files); err != nil {
		return nil, err
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	was, _ := s.Residue()
	if c.Files > 0 {
		c.Clean = was.Clean
	}
	c.Clean = max(c.Clean, was.Clean) // what is gone does not come back
	s.residue.Store(&c.Residue)
	return c.stuck, nil
}

// read counts. Versions of a key come newest first, so what made one outdated is the one before it.
func (c *census) read(ctx context.Context, it *badger.Iterator) error {
	var key []byte
	var by uint64 // the version before, of the same key
	for n := 0; ; n++ {
		if n == 0 {
			it.Rewind()
		} else {
			it.Next()
		}
		if !it.Valid() {
			return nil
		}
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		item := it.Item()
		again := n > 0 && bytes.Equal(item.Key(), key)
		if !again {
			key = append(key[:0], item.Key()...)
		}
		switch {
		case item.IsDeletedOrExpired():
			c.Deletions++
			c.left(key, item.Version())
		case again:
			c.Versions++
			c.left(key, by)
		}
		by = item.Version()
	}
}

// left notes that what the group of that number removed of a key has left something.
func (c *census) left(key []byte, group uint64) {
	c.Clean = min(c.Clean, store.Mark(group-1))
	if group > c.due || len(c.stuck) == maxTouched {
		return
	}
	if n := len(c.stuck); n == 0 || !bytes.Equal(c.stuck[n-1], key[1:]) {
		c.stuck = append(c.stuck, bytes.Clone(key[1:]))
	}
}

// touch writes keys again as they are. A table at the bottom is not rewritten for what is outdated in it alone, as after a
// View that was open through the last compaction; it is when something of its range comes down from above.
func (s *Store) touch(ctx context.Context, keys [][]byte) error {
	const atOnce = 10 // values of any size fit an Update
	for len(keys) > 0 {
		n := min(len(keys), atOnce)
		some := keys[:n]
		keys = keys[n:]
		err := s.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
			values, err := w.Get(some...)
			if err != nil {
				return err
			}
			for i, key := range some {
				if values[i] == nil {
					err = w.Delete(bytes.Clone(key))
				} else {
					err = w.Set(bytes.Clone(key), bytes.Clone(values[i]))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dataFiles names the tables and logs that are in the folder.
func (s *Store) dataFiles() (names []string, err error) {
	entries, err := os.ReadDir(s.opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing the folder: %w", err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == tableExt || ext == logExt {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

const (
	tableExt = ".sst"
	logExt   = ".mem"
)

// leftFiles counts those of the files that are still there although Badger reads neither a table nor a log from them: logs
// before the last flush, and tables that are in no level. A table that is just being made counts as well, for it may hold
// what is then dropped.
func (s *Store) leftFiles(names []string) (left int, err error) {
	tables := map[uint64]bool{}
	for _, t := range s.db.Tables() {
		tables[t.ID] = true
	}
	for _, name := range names {
		number, err := fileNumber(name)
		if err != nil {
			return 0, err
		}
		if filepath.Ext(name) == tableExt && tables[number] || filepath.Ext(name) == logExt && number >= s.firstLog {
			continue
		}
		switch _, err := os.Stat(filepath.Join(s.opt.Dir, name)); {
		case err == nil:
			left++
		case !os.IsNotExist(err):
			return 0, fmt.Errorf("looking for a file: %w", err)
		}
	}
	return left, nil
}

func fileNumber(name string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, filepath.Ext(name)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the name of the file %s: %w", name, err)
	}
	return n, nil
}

// noteFirstLog notes which log was begun by the flush that just ended: earlier ones hold what is in tables now. It is called
// while nothing is committed.
func (s *Store) noteFirstLog() error {
	names, err := s.dataFiles()
	if err != nil {
		return err
	}
	s.firstLog = 0
	for _, name := range names {
		if filepath.Ext(name) != logExt {
			continue
		}
		number, err := fileNumber(name)
		if err != nil {
			return err
		}
		s.firstLog = max(s.firstLog, number)
	}
	return nil
}
