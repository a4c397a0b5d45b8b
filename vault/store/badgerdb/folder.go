package badgerdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder syncs the directory when files were added to it. Badger does not, when it begins a memtable's log: without
// this a power cut could take the log with everything in it, on a file system that does not sync a new file's name
// along with the file (ext4 and XFS do).
type folder struct {
	file    *os.File
	changed unix.Timespec // of the newest synced state
}

func openFolder(dir string) (*folder, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("badgerdb: opening the folder: %w", err)
	}
	return &folder{file: f}, nil
}

func (f *folder) sync() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.file.Fd()), &st); err != nil {
		return fmt.Errorf("stat of the folder: %w", err)
	}
	if st.Mtim == f.changed {
		return nil
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("syncing the folder: %w", err)
	}
	f.changed = st.Mtim
	return nil
}

// syncedDir creates dir when it does not exist, so that it survives a power cut.
func syncedDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
