package file

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/sandyq/sandyq/vault/blob"
)

// syncs is a log of what was synced, with a sync that fails when it is told to.
type syncs struct {
	names []string
	fail  int // the sync that fails, counted from 1; 0: none
}

func (s *syncs) sync(f *os.File) error {
	s.names = append(s.names, filepath.Base(f.Name()))
	if len(s.names) == s.fail {
		return syscall.EIO
	}
	return f.Sync()
}

// synced returns an empty store whose syncs are logged.
func synced(t *testing.T) (*Store, *syncs) {
	t.Helper()
	s, err := Open(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	log := new(syncs)
	s.sync = log.sync
	return s, log
}

// write writes a whole blob.
func write(t *testing.T, s *Store, id blob.ID) error {
	t.Helper()
	w, err := s.Create(t.Context(), id)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write([]byte("x")); err != nil {
		return err
	}
	return w.Commit()
}

func TestEverythingIsSyncedInOrder(t *testing.T) {
	s, log := synced(t)
	first, second := blob.NewID(), blob.NewID()
	second[0] = first[0] // the same folder
	for _, id := range []blob.ID{first, second} {
		if err := write(t, s, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	folder := folderOf(first)
	want := []string{
		".",                              // the folder, before anything lies in it
		first.String() + partial, folder, // the content under the name aside, then the rename
		second.String() + partial, folder, // in a folder that is known to be durable
		folder, // the removal
	}
	if !slices.Equal(log.names, want) {
		t.Errorf("synced %q, want %q", log.names, want)
	}
}

func TestAFailedSyncIsAFailedWrite(t *testing.T) {
	for fail, may := range map[int]bool{1: false, 2: false, 3: true} { // the root, the file, and the folder after the rename
		s, log := synced(t)
		log.fail = fail
		id := blob.NewID()
		if err := write(t, s, id); !errors.Is(err, syscall.EIO) {
			t.Errorf("with sync %d failing: %v, want EIO", fail, err)
		}
		r, err := s.Open(t.Context(), id)
		if err == nil {
			_ = r.Close()
		}
		if errors.Is(err, blob.ErrNotFound) == may {
			t.Errorf("with sync %d failing, Open = %v", fail, err)
		}
		if err := s.List(t.Context(), func(i blob.Info) error {
			if i.Partial {
				t.Errorf("sync %d failing left a partial blob", fail)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
}

func TestAFailedSyncIsAFailedRemoval(t *testing.T) {
	s, log := synced(t)
	id := blob.NewID()
	if err := write(t, s, id); err != nil {
		t.Fatal(err)
	}
	log.fail = len(log.names) + 1
	if err := s.Remove(t.Context(), id); !errors.Is(err, syscall.EIO) {
		t.Errorf("Remove = %v, want EIO", err)
	}
	synced := len(log.names)
	if err := s.Remove(t.Context(), id); err != nil || len(log.names) != synced+1 {
		t.Errorf("Remove again = %v with %d syncs, want it to sync what the first did not", err, len(log.names)-synced)
	}
}
