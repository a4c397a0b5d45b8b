package badgerdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
		err := checkTable(table.NewFilename(t.ID, s.opt.Dir))
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

// checkDir checks all files that hold data, in the way of somebody who trusts none of them. A new folder is fine.
func checkDir(dir string) error {
	tables, err := checkManifest(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	for _, id := range tables {
		if err := checkTable(table.NewFilename(id, dir)); err != nil {
			return err
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := checkLog(path); err != nil {
			return err
		}
	}
	return nil
}

// checkManifest returns the tables that Badger will open. Badger checks the manifest itself, with one exception: a
// record whose length has grown looks to it like one that a crash cut short, and it would drop that record and then
// remove the tables in it.
func checkManifest(path string) ([]uint64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, end, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions("").WithLogger(nil))
	if err != nil {
		return nil, damaged(path, "%v", err)
	}
	rest, err := io.ReadAll(io.NewSectionReader(f, end, 1<<62))
	if err != nil {
		return nil, err
	}
	const header = 8 // length and checksum
	if len(rest) > header && crc32.Checksum(rest[header:], castagnoli) == binary.BigEndian.Uint32(rest[4:]) {
		return nil, damaged(path, "the length of the last record is wrong")
	}
	var ids []uint64
	for id := range m.Tables {
		ids = append(ids, id)
	}
	return ids, nil
}

// checkTable reads a table and checks the sums over its index and over each block. The layout is that of Badger's
// table.Builder: blocks, index, length of the index, sum of the index, length of that sum.
func checkTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	tail := tailReader{f: f, end: size}
	index, err := tail.summed()
	if err != nil {
		return damaged(path, "index: %v", err)
	}
	// The sum holds, so the index is what Badger wrote.
	var block fb.BlockOffset
	var buf []byte
	for i, ti := 0, fb.GetRootAsTableIndex(index, 0); i < ti.OffsetsLength(); i++ {
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
