package badgerdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4/pb"
	"google.golang.org/protobuf/proto"

	"github.com/sandyq/sandyq/vault/store"
)

// What a folder says when whole files of it are gone, and what it does not say when a crash or a failed sync explains
// what it looks like.

// glob returns the files of a pattern, of which there must be some.
func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return paths
}

// wantDamage opens a folder, which must be refused and keep its tables.
func wantDamage(t *testing.T, dir, what string) {
	t.Helper()
	before, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Logger: quiet})
	if err == nil {
		err = s.Close()
		t.Errorf("%s: opened; closing: %v", what, err)
		return
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("%s: %v", what, err)
	}
	after, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(after) != len(before) {
		t.Errorf("%s: %d tables of %d are left; %v", what, len(after), len(before), err)
	}
}

// wantIntact opens a folder, which must hold so many keys.
func wantIntact(t *testing.T, dir string, keys int) {
	t.Helper()
	s := open(t, Options{Dir: dir})
	if err := errors.Join(intact(s, keys, false), s.Close()); err != nil {
		t.Error(err)
	}
}

// closed returns the folder of a store like that of crashed, but closed.
func closed(t *testing.T) (dir string, keys int) {
	t.Helper()
	dir, keys = crashed(t)
	wantIntact(t, dir, keys)
	return dir, keys
}

// TestManifestGone: Badger would take the folder for a new one and remove every table.
func TestManifestGone(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (string, int){"closed": closed, "crashed": crashed} {
		dir, _ := make(t)
		manifest := filepath.Join(dir, "MANIFEST")
		for _, size := range []int64{0, 7} {
			if err := os.Truncate(manifest, size); err != nil {
				t.Fatal(err)
			}
			wantDamage(t, dir, fmt.Sprintf("%s, a manifest of %d bytes", name, size))
		}
		if err := os.Remove(manifest); err != nil {
			t.Fatal(err)
		}
		wantDamage(t, dir, name+", without a manifest")
	}
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if err := write(s, store.NewData, "k", nil); err != nil {
		t.Fatal(err)
	}
	dir = copyDir(t, dir) // no table yet
	if err := os.Remove(filepath.Join(dir, "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	wantDamage(t, dir, "a log without a manifest")
}

// TestManifestEndLost: Badger would take the last record for one cut short, and remove the tables in it.
func TestManifestEndLost(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (string, int){"closed": closed, "crashed": crashed} {
		dir, _ := make(t)
		manifest := filepath.Join(dir, "MANIFEST")
		st, err := os.Stat(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(manifest, st.Size()-3); err != nil {
			t.Fatal(err)
		}
		wantDamage(t, dir, name)
	}
}

// TestTableGone removes each table of a store with some that were flushed and some that were compacted.
func TestTableGone(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (string, int){"closed": closed, "crashed": crashed} {
		dir, _ := make(t)
		for _, path := range glob(t, dir, "*.sst") {
			without := copyDir(t, dir)
			if err := os.Remove(filepath.Join(without, filepath.Base(path))); err != nil {
				t.Fatal(err)
			}
			wantDamage(t, without, name+" without "+filepath.Base(path))
		}
	}
}

// TestTableZeroed: zeros pass for an index of no bytes with its sum.
func TestTableZeroed(t *testing.T) {
	dir, _ := closed(t)
	path := glob(t, dir, "*.sst")[0]
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Truncate(path, 100), os.Truncate(path, st.Size())); err != nil {
		t.Fatal(err)
	}
	wantDamage(t, dir, "a table of zeros")
}

// TestLogGone: of two logs the first cannot go unnoticed.
func TestLogGone(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	put := func(key int) {
		t.Helper()
		if err := write(s, store.NewData, fmt.Sprintf("key/%06d", key), loadValue(0, key)); err != nil {
			t.Fatal(err)
		}
	}
	put(0)
	dir := copyDir(t, s.opt.Dir) // with the first log, before it is flushed
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	put(1)
	later := copyDir(t, s.opt.Dir)
	first, second := glob(t, dir, "*.mem")[0], glob(t, later, "*.mem")[0]
	if err := os.Rename(second, filepath.Join(dir, filepath.Base(second))); err != nil {
		t.Fatal(err)
	}
	without := copyDir(t, dir)
	if err := os.Remove(filepath.Join(without, filepath.Base(first))); err != nil {
		t.Fatal(err)
	}
	wantDamage(t, without, "without the first log")
	wantIntact(t, dir, 2)
}

// TestCrashAfterDeletes: a compaction drops the last groups there were, which only deleted; that is no gap.
func TestCrashAfterDeletes(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if err := write(s, store.NewData, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(w store.Writer) error { return w.Delete([]byte("k")) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := write(s, store.NewData, "key/000000", loadValue(0, 0)); err != nil {
		t.Fatal(err)
	}
	wantIntact(t, copyDir(t, s.opt.Dir), 1)
}

// record appends a record to the manifest, as one whose sync fails is left there.
func record(t *testing.T, dir string, create, remove []uint64) {
	t.Helper()
	set := new(pb.ManifestChangeSet)
	for _, id := range create {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE})
	}
	for _, id := range remove {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_DELETE})
	}
	body, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	header := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	header = binary.BigEndian.AppendUint32(header, crc32.Checksum(body, castagnoli))
	f, err := os.OpenFile(filepath.Join(dir, "MANIFEST"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(header, body...))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFailedRecords: which records of missing tables are dropped, and which are damage.
func TestFailedRecords(t *testing.T) {
	original, keys := crashed(t)
	m, err := readManifest(original)
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for id := range m.tables {
		all = append(all, id)
	}
	const lost, moved = 900, 901
	for _, c := range []struct {
		what    string
		prepare func(dir string)
		damaged bool
	}{
		{"a flush that failed, with its log", func(dir string) { record(t, dir, []uint64{lost}, nil) }, false},
		{"a flush that failed twice", func(dir string) {
			record(t, dir, []uint64{lost}, nil)
			record(t, dir, []uint64{moved}, nil)
		}, false},
		{"a flush without its log", func(dir string) {
			record(t, dir, []uint64{lost}, nil)
			if err := os.Remove(glob(t, dir, "*.mem")[0]); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a flush before one that is there", func(dir string) {
			record(t, dir, []uint64{lost}, nil)
			copyTable(t, dir, all[0], moved)
			record(t, dir, []uint64{moved}, nil)
		}, true},
		{"a compaction that failed, with its inputs", func(dir string) { record(t, dir, []uint64{lost}, all) }, false},
		{"a compaction that failed before a flush", func(dir string) {
			record(t, dir, []uint64{lost}, all)
			copyTable(t, dir, all[0], moved)
			record(t, dir, []uint64{moved}, nil)
		}, false},
		{"a compaction without an input", func(dir string) {
			record(t, dir, []uint64{lost}, all)
			if err := os.Remove(glob(t, dir, "*.sst")[0]); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"two tables from nowhere", func(dir string) { record(t, dir, []uint64{lost, moved}, nil) }, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := copyDir(t, original)
			if c.prepare(dir); c.damaged {
				wantDamage(t, dir, c.what)
				return
			}
			wantIntact(t, dir, keys)
			wantIntact(t, dir, keys)
		})
	}
}

// copyTable copies a table under another number.
func copyTable(t *testing.T, dir string, from, to uint64) {
	t.Helper()
	name := func(id uint64) string { return filepath.Join(dir, fmt.Sprintf("%06d.sst", id)) }
	b, err := os.ReadFile(name(from))
	if err == nil {
		err = os.WriteFile(name(to), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
