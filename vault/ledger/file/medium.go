package file

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sandyq/sandyq/vault/ledger"
)

// handle is what a medium does with its file.
type handle interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Fd() uintptr
	Close() error
}

var _ handle = (*os.File)(nil)

// medium is a ledger.Medium over a file that this process has locked.
type medium struct {
	path string
	file handle

	mu     sync.Mutex
	begins []int64 // where each line begins
	size   int64   // of the lines, with their line feeds
	left   state   // of the file, as this process left it
	failed error   // of a write or sync: nothing is done any more
}

var _ ledger.Medium = (*medium)(nil)

// state is what tells that a file was touched.
type state struct {
	size             int64
	modified, change unix.Timespec
}

// index finds the lines. What follows the last line feed stays outside, see settle.
func (m *medium) index() error {
	r := bufio.NewReaderSize(io.NewSectionReader(m.file, 0, 1<<62), 1<<16)
	for {
		n, err := skipLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		m.begins = append(m.begins, m.size)
		m.size += n
	}
	if err := m.complete(); err != nil {
		return err
	}
	if len(m.begins) == 0 {
		return fmt.Errorf("no header: %w", ledger.ErrTruncated)
	}
	return nil
}

// complete gives the last line its line feed, when that is all it lacks: then it is read like the others.
func (m *medium) complete() error {
	tail, err := m.tail()
	if err != nil || !ledger.Whole(tail) {
		return err
	}
	n := int64(len(tail))
	if _, err := m.file.WriteAt([]byte("\n"), m.size+n); err != nil {
		return fmt.Errorf("end the last line: %w", err)
	}
	m.begins, m.size = append(m.begins, m.size), m.size+n+1
	return nil
}

// tail is what follows the last line feed.
func (m *medium) tail() ([]byte, error) {
	tail, err := io.ReadAll(io.NewSectionReader(m.file, m.size, ledger.MaxLine+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the end: %w", err)
	case len(tail) > ledger.MaxLine:
		return nil, fmt.Errorf("a line is longer than %d bytes: %w", ledger.MaxLine, ledger.ErrDamaged)
	}
	return tail, nil
}

// skipLine reads past one line feed, and fails with io.EOF when none comes.
func skipLine(r *bufio.Reader) (int64, error) {
	for n := int64(0); ; {
		piece, err := r.ReadSlice('\n')
		n += int64(len(piece))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
		if n > ledger.MaxLine+1 {
			return n, fmt.Errorf("a line is longer than %d bytes: %w", ledger.MaxLine, ledger.ErrDamaged)
		}
	}
}

// settle deals with what follows the last line feed, once all lines before are verified, and makes durable what another process
// may have written and not come to sync.
func (m *medium) settle() error {
	tail, err := m.tail()
	if err != nil {
		return err
	}
	if len(tail) > 0 {
		if err := m.cut(tail); err != nil {
			return err
		}
	}
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("sync the file: %w", err)
	}
	return m.remember()
}

// cut takes away a line that was not finished.
func (m *medium) cut(tail []byte) error {
	number := len(m.begins) - 1
	last, err := m.line(number)
	if err != nil {
		return err
	}
	if !ledger.Torn(tail, ledger.Head{Entries: uint64(number), Hash: sha256.Sum256(last)}) {
		return fmt.Errorf("its end is neither a line nor the beginning of the next: %w", ledger.ErrDamaged)
	}
	if err := m.file.Truncate(m.size); err != nil {
		return fmt.Errorf("cut off a line that was not finished: %w", err)
	}
	return nil
}

// look stats the path and the file, which must be the same.
func (m *medium) look() (touched bool, now state, err error) {
	var there, held unix.Stat_t
	if err := unix.Stat(m.path, &there); errors.Is(err, unix.ENOENT) {
		return false, state{}, ledger.ErrMissing
	} else if err != nil {
		return false, state{}, fmt.Errorf("look at the file: %w", err)
	}
	if err := unix.Fstat(int(m.file.Fd()), &held); err != nil {
		return false, state{}, fmt.Errorf("look at the file: %w", err)
	}
	if there.Dev != held.Dev || there.Ino != held.Ino {
		return false, state{}, fmt.Errorf("another file lies in its place: %w", ledger.ErrForged)
	}
	now = state{size: held.Size, modified: held.Mtim, change: held.Ctim}
	return now != m.left, now, nil
}

// remember takes the file as it is for how this process left it.
func (m *medium) remember() error {
	_, now, err := m.look()
	m.left = now
	return err
}

// Last implements [ledger.Medium].
func (m *medium) Last(ctx context.Context) (ledger.Last, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Last{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return ledger.Last{}, m.failed
	}
	touched, now, err := m.look()
	switch {
	case err != nil:
		return ledger.Last{}, err
	case now.size < m.size:
		return ledger.Last{}, fmt.Errorf("%d bytes, not %d: %w", now.size, m.size, ledger.ErrTruncated)
	case now.size > m.size:
		return ledger.Last{}, fmt.Errorf("somebody else has written at its end: %w", ledger.ErrForged)
	}
	number := len(m.begins) - 1
	line, err := m.line(number)
	if err != nil {
		return ledger.Last{}, err
	}
	m.left = now
	return ledger.Last{Number: uint64(number), Line: line, Touched: touched}, nil
}

// line reads one line, without its line feed, under mu.
func (m *medium) line(number int) ([]byte, error) {
	begin, end := m.begins[number], m.size
	if number+1 < len(m.begins) {
		end = m.begins[number+1]
	}
	return readLine(io.NewSectionReader(m.file, begin, end-begin), make([]byte, end-begin))
}

// readLine fills line, and returns it without its line feed.
func readLine(r io.Reader, line []byte) ([]byte, error) {
	_, err := io.ReadFull(r, line)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("ends within a line: %w", ledger.ErrTruncated)
	case err != nil:
		return nil, fmt.Errorf("read a line: %w", err)
	}
	text, ended := bytes.CutSuffix(line, []byte("\n"))
	if !ended {
		return nil, fmt.Errorf("a line does not end where it did: %w", ledger.ErrDamaged)
	}
	return text, nil
}

// Read implements [ledger.Medium].
func (m *medium) Read(ctx context.Context, from uint64, f func(line []byte) error) error {
	m.mu.Lock()
	begins, size := m.begins, m.size // what stands in them is never changed
	m.mu.Unlock()
	if from >= uint64(len(begins)) {
		return nil
	}
	begins = begins[from:]
	r := bufio.NewReaderSize(io.NewSectionReader(m.file, begins[0], size-begins[0]), 1<<16)
	var buffer []byte
	for i, begin := range begins {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := size
		if i+1 < len(begins) {
			end = begins[i+1]
		}
		buffer = slices.Grow(buffer[:0], int(end-begin))[:end-begin]
		line, err := readLine(r, buffer)
		if err != nil {
			return err
		}
		if err := f(line); err != nil {
			return err
		}
	}
	return nil
}

// Append implements [ledger.Medium].
func (m *medium) Append(ctx context.Context, number uint64, lines ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.failed != nil:
		return m.failed
	case number != uint64(len(m.begins)):
		return ledger.ErrBehind
	}
	var all []byte
	begins := m.begins
	for _, line := range lines {
		begins = append(begins, m.size+int64(len(all)))
		all = append(append(all, line...), '\n')
	}
	_, err := m.file.WriteAt(all, m.size)
	if err == nil {
		err = m.file.Sync()
	}
	if err == nil {
		err = m.remember()
	}
	if err != nil {
		m.failed = fmt.Errorf("%w: %w", ledger.ErrFailed, err)
		return m.failed
	}
	m.begins, m.size = begins, m.size+int64(len(all))
	return nil
}

// Close implements [ledger.Medium]. It gives up the lock.
func (m *medium) Close() error { return m.file.Close() }
