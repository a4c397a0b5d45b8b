package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/sandyq/sandyq/vault/blob"
)

// checkEvery is how many bytes are written between two looks at the free space.
const checkEvery = 4 << 20

// writer writes a blob aside.
type writer struct {
	store     *Store
	ctx       context.Context // of Create: when it ends, so does the writing
	id        blob.ID
	file      *os.File // nil once committed or aborted
	unchecked int      // bytes since the last look at the free space
	failed    error    // after which nothing more is written, nor committed
}

var errFinished = errors.New("blob was committed or aborted")

// Write appends. After an error the blob can only be aborted.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.ready(len(p)); err != nil {
		return 0, w.fail("write", err)
	}
	n, err := w.file.Write(p)
	w.unchecked += n
	if err != nil {
		return n, w.fail("write", noSpace(err))
	}
	return n, nil
}

// ready reports what forbids to write n bytes.
func (w *writer) ready(n int) error {
	switch {
	case w.failed != nil:
		return w.failed
	case w.file == nil:
		return errFinished
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case w.unchecked+n >= checkEvery:
		w.unchecked = 0
		return w.store.room(uint64(n))
	default:
		return nil
	}
}

// fail notes the first failure.
func (w *writer) fail(doing string, err error) error {
	if w.failed == nil {
		w.failed = fmt.Errorf("blob/file: %s %s: %w", doing, w.id, err)
	}
	return w.failed
}

// Commit makes the blob durable under its name.
func (w *writer) Commit() error {
	if err := w.ready(0); err != nil {
		return w.fail("commit", err)
	}
	file := w.file
	w.file = nil
	err := noSpace(w.store.sync(file)) // some file systems find out only now that the disk is full
	if err = errors.Join(err, file.Close()); err != nil {
		w.remove()
		return w.fail("commit", err)
	}
	if err := w.store.root.Rename(pathOf(w.id)+partial, pathOf(w.id)); err != nil {
		w.remove()
		return w.fail("commit", err)
	}
	if err := w.store.syncFolder(folderOf(w.id)); err != nil {
		return w.fail("commit", err)
	}
	return nil
}

// Abort drops what was written.
func (w *writer) Abort() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // its content is going
	w.file = nil
	w.remove()
}

// remove unlinks the partial file. What fails stays and is listed as partial.
func (w *writer) remove() { _ = w.store.root.Remove(pathOf(w.id) + partial) }

// noSpace names the errors that mean a full disk or a spent quota.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	}
	return err
}
