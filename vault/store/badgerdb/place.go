package badgerdb

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const markerName = "PLACE"

// marker is a file beside Badger's that says which directory this is, and whose lock says that it is in use.
type marker struct {
	file *os.File
	id   string
}

// openMarker opens and locks the marker in dir, creating both unless readOnly.
func openMarker(dir string, readOnly bool) (*marker, error) {
	flags, lock := os.O_RDWR|os.O_CREATE, unix.LOCK_EX
	if readOnly {
		flags, lock = os.O_RDONLY, unix.LOCK_SH
	} else if err := syncedDir(dir); err != nil {
		return nil, fmt.Errorf("badgerdb: creating the folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, markerName), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("badgerdb: opening the marker: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), lock|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("badgerdb: locking %s: %w", dir, err), f.Close())
	}
	m := &marker{file: f}
	if err := m.name(readOnly); err != nil {
		return nil, errors.Join(fmt.Errorf("badgerdb: the marker: %w", err), f.Close())
	}
	return m, nil
}

// name reads the random name in the marker, or gives it one. A name that was cut short is replaced: nothing can rest on
// a place that was never told.
func (m *marker) name(readOnly bool) error {
	b, err := io.ReadAll(io.LimitReader(m.file, 64))
	if err != nil {
		return err
	}
	if m.id = string(b); len(m.id) == len(rand.Text()) || readOnly {
		return nil
	}
	m.id = rand.Text()
	if err := m.file.Truncate(0); err != nil {
		return err
	}
	if _, err := m.file.WriteAt([]byte(m.id), 0); err != nil {
		return err
	}
	return errors.Join(m.file.Sync(), syncDir(filepath.Dir(m.file.Name())))
}

// place rests on when the marker was created, for copies of the folder, and on when it was changed, for a copy written
// over the folder, which keeps the inode. Nothing here changes the marker once it is named: neither opening nor locking
// does, nor renaming the folder.
func (m *marker) place() (string, error) {
	var st unix.Statx_t
	const want = unix.STATX_INO | unix.STATX_BTIME | unix.STATX_CTIME
	if err := unix.Statx(int(m.file.Fd()), "", unix.AT_EMPTY_PATH, want, &st); err != nil {
		return "", fmt.Errorf("badgerdb: place: %w", err)
	}
	if st.Mask&want != want {
		return "", errors.New("badgerdb: place: the file system does not record when a file was created and changed")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d.%09d %d.%09d",
		m.id, st.Ino, st.Btime.Sec, st.Btime.Nsec, st.Ctime.Sec, st.Ctime.Nsec))
	return hex.EncodeToString(sum[:16]), nil
}

func (m *marker) close() error { return m.file.Close() }
