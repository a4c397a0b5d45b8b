package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The layout of the manifest: eight bytes of magic and versions, which Badger checks, then records: length, Castagnoli
// CRC, and a set of changes. The tables of the store are those that were created and not deleted.
const (
	manifestHeader = 8
	recordHeader   = 8
)

// manifest is Badger's list of tables, with three of its weaknesses made good.
//
// Without a manifest Badger takes the folder for a new one and removes the tables in it. That is an error here.
//
// A record whose length has grown looks to Badger like one that a crash cut short: it would drop the record, and then
// remove the tables in it. That is an error, too.
//
// When the sync of a record fails, Badger removes the tables it had just made and goes on with the ones it had; but the
// record stays, and after a restart Badger does not open a store whose tables are missing. Such a record is dropped
// when nothing is lost with it:
//
//   - That of a compaction, because what it merged is still there. It need not be the last: compactions run side by side.
//   - That of a flush, because the log is still there, provided that no later flush was recorded: flushes run one after
//     another, the store stops at the first failure, and which versions a missing table held is not known otherwise.
//
// Else a table is missing, which is damage.
type manifest struct {
	path    string
	magic   []byte
	records [][]byte // with their headers
	tables  map[uint64]bool

	dropped map[int]bool // records of tables that are missing
	flushes bool         // a dropped record is that of a flush
}

// readManifest reads the manifest in dir and compares it with the tables there are.
func readManifest(dir string) (*manifest, error) {
	m := &manifest{path: filepath.Join(dir, badger.ManifestFilename), dropped: map[int]bool{}}
	b, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) < manifestHeader {
		return m, m.mustBeNew(dir)
	}
	if err != nil {
		return nil, err
	}
	changes, err := m.parse(b)
	if err != nil {
		return nil, err
	}
	m.apply(changes)
	missing := map[uint64]bool{}
	for id := range m.tables {
		if _, err := os.Stat(table.NewFilename(id, dir)); errors.Is(err, fs.ErrNotExist) {
			missing[id] = true
		}
	}
	m.drop(changes, missing)
	m.apply(changes) // if a table is missing still, checking it will tell
	return m, nil
}

// mustBeNew returns an error when there is data in dir: Badger syncs the manifest before it makes any other file.
func (m *manifest) mustBeNew(dir string) error {
	for _, pattern := range []string{"*.sst", "*.mem"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			st, err := os.Stat(path)
			if err != nil {
				return err
			}
			if st.Size() > 0 || pattern == "*.sst" {
				return damaged(m.path, "it is gone or has no header, and %s is there", filepath.Base(path))
			}
		}
	}
	return nil
}

func (m *manifest) parse(b []byte) (changes []*pb.ManifestChangeSet, err error) {
	m.magic, b = b[:manifestHeader], b[manifestHeader:]
	for len(b) >= recordHeader {
		length, want := int64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
		body := b[recordHeader:]
		if length > int64(len(body)) {
			if crc32.Checksum(body, castagnoli) == want {
				return nil, damaged(m.path, "the length of the last record")
			}
			return changes, nil // cut short by a crash
		}
		body = body[:length]
		set := new(pb.ManifestChangeSet)
		if crc32.Checksum(body, castagnoli) != want || proto.Unmarshal(body, set) != nil {
			return nil, damaged(m.path, "record %d", len(changes))
		}
		changes = append(changes, set)
		m.records = append(m.records, b[:recordHeader+length])
		b = b[recordHeader+length:]
	}
	return changes, nil
}

// apply sets the tables to those of all records that are not dropped.
func (m *manifest) apply(changes []*pb.ManifestChangeSet) {
	m.tables = map[uint64]bool{}
	for i, set := range changes {
		for _, c := range set.Changes {
			if m.dropped[i] {
				continue
			}
			if c.Op == pb.ManifestChange_CREATE {
				m.tables[c.Id] = true
			} else {
				delete(m.tables, c.Id)
			}
		}
	}
}

// drop drops the records of missing tables that a failed sync can explain. Whether the files agree is for others to check.
func (m *manifest) drop(changes []*pb.ManifestChangeSet, missing map[uint64]bool) {
	flushed := false // by a later record that is kept
	for i, set := range slices.Backward(changes) {
		created, deleted, gone := 0, 0, false
		for _, c := range set.Changes {
			if c.Op == pb.ManifestChange_DELETE {
				deleted++
				continue
			}
			created++
			gone = gone || missing[c.Id]
		}
		flush := created == 1 && deleted == 0
		switch {
		case gone && deleted > 0:
			m.dropped[i] = true
		case gone && flush && !flushed:
			m.dropped[i], m.flushes = true, true
		case flush:
			flushed = true
		}
	}
}

// mend writes the manifest without the dropped records.
func (m *manifest) mend() error {
	b := append([]byte{}, m.magic...)
	for i, record := range m.records {
		if !m.dropped[i] {
			b = append(b, record...)
		}
	}
	aside := m.path + ".mended"
	f, err := os.Create(aside)
	if err != nil {
		return fmt.Errorf("mending the manifest: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("mending the manifest: %w", err)
	}
	if err := os.Rename(aside, m.path); err != nil {
		return fmt.Errorf("mending the manifest: %w", err)
	}
	return syncDir(filepath.Dir(m.path))
}
