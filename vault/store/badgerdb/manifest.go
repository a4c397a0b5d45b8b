package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

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

// manifest is Badger's list of tables, with two of its weaknesses made good.
//
// A record whose length has grown looks to Badger like one that a crash cut short: it would drop the record, and then
// remove the tables in it. That is an error here.
//
// When the sync of a record fails, Badger removes the tables it had just made and goes on with the ones it had; but the
// record stays, and after a restart Badger does not open a store whose tables are missing. Such a record is dropped: the
// tables that it replaced are all there, or the log is from which its table was made. If they are not, it is damage.
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
		return m, nil // new, or a matter for Badger
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
	for i, set := range changes {
		m.drop(i, set, missing)
	}
	m.apply(changes) // if a table is missing still, checking it will tell
	return m, nil
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

// drop drops record i when a table is missing that it creates.
func (m *manifest) drop(i int, set *pb.ManifestChangeSet, missing map[uint64]bool) {
	deletes := false
	for _, c := range set.Changes {
		if c.Op == pb.ManifestChange_CREATE && missing[c.Id] {
			m.dropped[i] = true
		}
		deletes = deletes || c.Op == pb.ManifestChange_DELETE
	}
	if m.dropped[i] && !deletes {
		m.flushes = true
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
