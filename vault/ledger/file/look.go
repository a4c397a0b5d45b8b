package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sandyq/sandyq/vault/ledger"
)

// Look opens the ledger of a tenant for reading alone, whether or not another process has it open, and changes nothing: of a line
// that is being written it knows nothing. Appending fails with ledger.ErrInUse.
func Look(ctx context.Context, dir string, o ledger.Options) (*ledger.Book, error) {
	path := Path(dir, o.Tenant)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = ledger.ErrMissing
	}
	if err != nil {
		return nil, fmt.Errorf("ledger/file: look at: %w", err)
	}
	w := &watched{medium{path: path, file: f}}
	if err := w.follow(); err != nil {
		return nil, fmt.Errorf("ledger/file: look at: %w", errors.Join(err, f.Close()))
	}
	b, err := ledger.Open(ctx, w, o)
	if err != nil {
		return nil, fmt.Errorf("ledger/file: look at: %w", err)
	}
	return b, nil
}

// watched is a medium that another process may be writing.
type watched struct{ medium }

// follow finds the lines that have come since.
func (w *watched) follow() error {
	r := bufio.NewReaderSize(io.NewSectionReader(w.file, w.size, 1<<62), 1<<16)
	for {
		n, err := skipLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		w.begins = append(w.begins, w.size)
		w.size += n
	}
	if len(w.begins) == 0 {
		return fmt.Errorf("no header: %w", ledger.ErrTruncated)
	}
	return nil
}

// Last implements [ledger.Medium]. That the file has grown is no sign of its having been touched.
func (w *watched) Last(ctx context.Context) (ledger.Last, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Last{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, now, err := w.look()
	if err != nil {
		return ledger.Last{}, err
	}
	if now.size < w.size {
		return ledger.Last{}, fmt.Errorf("%d bytes, not %d: %w", now.size, w.size, ledger.ErrTruncated)
	}
	if err := w.follow(); err != nil {
		return ledger.Last{}, err
	}
	number := len(w.begins) - 1
	line, err := w.line(number)
	return ledger.Last{Number: uint64(number), Line: line}, err
}

// Append implements [ledger.Medium]: who looks does not write.
func (w *watched) Append(context.Context, uint64, ...[]byte) error { return ledger.ErrInUse }
