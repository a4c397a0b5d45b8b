package badgerdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
	first, err := checkLogs(dir)
	if err != nil {
		return err
	}
	if m.flushes && (first == 0 || first > newest+1) {
		return damaged(m.path, "a table is missing, and no log holds what was in it")
	}
	if readOnly {
		if first != 0 || len(m.dropped) > 0 {
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
		version, err := checkTable(table.NewFilename(id, dir))
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, nil
}

// checkLogs returns the oldest version in the logs of memtables; 0 when there is none.
func checkLogs(dir string) (first uint64, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		version, err := checkLog(path)
		if err != nil {
			return 0, err
		}
		if first == 0 || version != 0 && version < first {
			first = version
		}
	}
	return first, nil
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
