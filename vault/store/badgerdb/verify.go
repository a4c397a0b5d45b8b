package badgerdb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// ErrDamaged: a file of the store does not hold what was written to it. Restore the store from a backup.
var ErrDamaged = errors.New("badgerdb: damaged file")

func damaged(path, what string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, filepath.Base(path), fmt.Sprintf(what, args...))
}

// Verify reads every table from the disk and checks it, and stops the store when one is damaged. Run it now and then:
// while the store runs, Badger takes damage that appeared since Open for the end of a table.
func (s *Store) Verify(ctx context.Context) error {
	version, err := s.snapshots.acquire()
	if err != nil {
		return err
	}
	defer s.snapshots.release(version)
	for _, t := range s.db.Tables() {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := checkTable(table.NewFilename(t.ID, s.opt.Dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue // compacted away meanwhile
		}
		if err != nil {
			s.fail(err)
			return err
		}
	}
	return nil
}

// checkDir checks all files that hold data, in the way of somebody who trusts none of them, and mends what a failed sync
// of the manifest leaves behind. A new folder is fine.
func checkDir(dir string, readOnly bool) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	newest, err := checkTables(dir, m.tables)
	if err != nil {
		return err
	}
	last, err := checkLogs(dir, newest)
	if err != nil {
		return err
	}
	if m.flushes && last <= newest {
		return damaged(m.path, "a table is missing, and no log holds what was in it")
	}
	if err := checkOrphans(dir, m.tables, max(newest, last)); err != nil {
		return err
	}
	if readOnly {
		if last != 0 || len(m.dropped) > 0 {
			return errors.New("the store was not closed: it has to be opened normally, or a copy of it")
		}
		return nil
	}
	if len(m.dropped) > 0 {
		if err := m.mend(); err != nil {
			return err
		}
	}
	return removeEmpty(dir)
}

// removeEmpty removes logs without a byte: Badger creates a log before it gives it a size, and empties it before it
// removes it, and does not open a store that was interrupted in between.
func removeEmpty(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			st, err := os.Stat(path)
			if err == nil && st.Size() == 0 {
				err = os.Remove(path)
			}
			if err != nil {
				return fmt.Errorf("removing an empty log: %w", err)
			}
		}
	}
	return nil
}

// checkTables returns the newest version in the tables.
func checkTables(dir string, ids map[uint64]bool) (newest uint64, err error) {
	for id := range ids {
		path := table.NewFilename(id, dir)
		version, err := checkTable(path)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, damaged(path, "it is gone")
		}
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// checkLogs checks the logs of memtables, and that no version is missing between the tables, whose newest it is given,
// and the logs, or between two logs: each group writes one version. It returns the last version in the logs; 0 when
// there is none.
func checkLogs(dir string, newest uint64) (last uint64, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return 0, err
	}
	var logs []logRange
	for _, path := range paths {
		l, err := checkLog(path)
		if err != nil {
			return 0, err
		}
		if l.last != 0 {
			logs = append(logs, l)
		}
	}
	slices.SortFunc(logs, func(a, b logRange) int { return cmp.Compare(a.first, b.first) })
	reach := newest
	for _, l := range logs {
		if l.first > reach+1 {
			return 0, damaged(l.path, "it begins at version %d, and what is before it ends at %d: a table or a log is gone", l.first, reach)
		}
		reach = max(reach, l.last)
		last = max(last, l.last)
	}
	return last, nil
}

// checkOrphans looks at the tables that are not in the manifest, which Badger will remove. A crash leaves them when it
// interrupts a flush or a compaction; then all that is in them is in a log or in other tables, too. If one is newer than
// all that, the manifest has lost its end.
func checkOrphans(dir string, ids map[uint64]bool, newest uint64) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if id, ok := table.ParseFileID(filepath.Base(path)); ok && ids[id] {
			continue
		}
		version, err := checkTable(path)
		if errors.Is(err, ErrDamaged) {
			continue // half written
		}
		if err != nil {
			return err
		}
		if version > newest {
			return damaged(path, "it is not in the manifest, and no log holds what is in it")
		}
	}
	return nil
}

// checkTable reads a table and checks the sums over its index and over each block. The layout is that of Badger's
// table.Builder: blocks, index, length of the index, sum of the index, length of that sum. It returns the newest version
// in the table.
func checkTable(path string) (newest uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	tail := tailReader{f: f, end: size}
	index, err := tail.summed()
	if err != nil {
		return 0, damaged(path, "index: %v", err)
	}
	ti := fb.GetRootAsTableIndex(index, 0) // the sum holds, so this is what Badger wrote
	return ti.MaxVersion(), checkBlocks(f, size, path, ti)
}

func checkBlocks(f *os.File, size int64, path string, ti *fb.TableIndex) error {
	var block fb.BlockOffset
	var buf []byte
	for i := range ti.OffsetsLength() {
		ti.Offsets(&block, i)
		if int64(block.Offset())+int64(block.Len()) > size {
			return damaged(path, "cut short before block %d", i)
		}
		buf = append(buf[:0], make([]byte, block.Len())...)
		if _, err := f.ReadAt(buf, int64(block.Offset())); err != nil {
			return fmt.Errorf("reading %s: %w", filepath.Base(path), err)
		}
		if err := checkBlock(buf); err != nil {
			return damaged(path, "block %d: %v", i, err)
		}
	}
	return nil
}

// checkBlock checks a block, which ends in its sum and the length of that sum.
func checkBlock(b []byte) error {
	tail := tailReader{f: bytes.NewReader(b), end: int64(len(b))}
	sum, err := tail.sized()
	if err != nil {
		return err
	}
	return checkSum(b[:tail.end], sum)
}

// tailReader reads pieces from the end of a file, each followed by its length in four bytes.
type tailReader struct {
	f   io.ReaderAt
	end int64
}

func (t *tailReader) sized() ([]byte, error) {
	length, err := t.take(4)
	if err != nil {
		return nil, err
	}
	return t.take(int64(binary.BigEndian.Uint32(length)))
}

func (t *tailReader) take(n int64) ([]byte, error) {
	if n > t.end {
		return nil, errors.New("a length is wrong")
	}
	t.end -= n
	b := make([]byte, n)
	_, err := t.f.ReadAt(b, t.end)
	return b, err
}

// summed returns the piece that comes before its sum.
func (t *tailReader) summed() ([]byte, error) {
	sum, err := t.sized()
	if err != nil {
		return nil, err
	}
	b, err := t.sized()
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, errors.New("it is empty") // zeros would pass for the sum of nothing
	}
	return b, checkSum(b, sum)
}

func checkSum(b, sum []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return errors.New("the sum is not one")
	}
	if want.Algo != pb.Checksum_CRC32C && want.Algo != pb.Checksum_XXHash64 {
		return errors.New("the sum is of an unknown kind") // of which Badger would panic
	}
	return y.VerifyChecksum(b, &want)
}
