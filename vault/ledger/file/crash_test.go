package file

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/ledgertest"
)

const signer ledgertest.Signer = "ours"

func options() ledger.Options { return ledgertest.Options(signer) }

// written makes a ledger of n entries and returns its directory and the file's content.
func written(t *testing.T, n int) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	b, err := Create(t.Context(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(t.Context(), ledgertest.Entries(0, n)...); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, read(t, dir)
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	content, err := os.ReadFile(Path(dir, ledgertest.Tenant))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func put(t *testing.T, dir string, content []byte) {
	t.Helper()
	if err := os.WriteFile(Path(dir, ledgertest.Tenant), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// unsynced is a file that is not synced, for what is done a thousand times.
type unsynced struct{ *os.File }

func (unsynced) Sync() error { return nil }

// wholeLines is how many entries stand whole in content: the last one's line feed may be missing.
func wholeLines(content []byte) int {
	n := bytes.Count(content, []byte("\n"))
	if bytes.HasSuffix(content, []byte(`"}`)) {
		n++
	}
	return n - 1
}

// An append of two entries that is cut short at any byte leaves the entries that are whole, and repeating it gives what it
// would have given; also where the file has the length of the whole and zeros at its end.
func TestACrashAtAnyByteOfAnAppend(t *testing.T) {
	dir, before := written(t, 2)
	full, err := Open(t.Context(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	want, err := full.Append(t.Context(), ledgertest.Entries(2, 4)...)
	if err := errors.Join(err, full.Close()); err != nil {
		t.Fatal(err)
	}
	after := read(t, dir)
	step := 7 // a disk's syncs are slow: every byte with SANDYQ_TEST_SCALE=7 or more
	if scale, err := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE")); err == nil {
		step = max(1, step/scale)
	}
	for length := len(before); length <= len(after); length++ {
		cut := after[:length]
		atEdge := bytes.ContainsAny(after[max(0, length-3):min(len(after), length+3)], "\n\x00")
		if !atEdge && length%step != 0 {
			continue
		}
		crashes := [][]byte{cut}
		if !bytes.HasSuffix(cut, []byte(`"}`)) { // that a line feed alone became a zero is no crash
			crashes = append(crashes, append(bytes.Clone(cut), make([]byte, len(after)-length)...))
		}
		for _, crash := range crashes {
			put(t, dir, crash)
			b, err := open(t.Context(), dir, options(), func(f *os.File) handle { return unsynced{f} })
			if err != nil {
				t.Fatalf("Open after %d of %d bytes: %v", length-len(before), len(after)-len(before), err)
			}
			head, err := b.Head(t.Context())
			if err != nil || head.Entries != uint64(wholeLines(cut)) {
				t.Fatalf("after %d bytes: Head = %d, %v; want %d", length, head.Entries, err, wholeLines(cut))
			}
			if head, err := b.Append(t.Context(), ledgertest.Entries(2, 4)...); err != nil || head != want {
				t.Fatalf("after %d bytes: the append again = %+v, %v; want %+v", length, head, err, want)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, dir); !bytes.Equal(got, after) {
				t.Fatalf("after %d bytes: the file is another than without the crash", length)
			}
		}
	}
}

// What no crash leaves is damage, and the file stays as it is for whoever looks into it.
func TestWhatNoCrashLeavesIsDamage(t *testing.T) {
	dir, content := written(t, 3)
	whole := bytes.TrimSuffix(content, []byte("\n"))
	last := whole[bytes.LastIndexByte(whole, '\n')+1:]
	next := fmt.Sprintf(`{"v":1,"n":4,"prev":"%s`, strings.Repeat("0", 64))
	for name, bad := range map[string][]byte{
		"a byte after the last line":        append(bytes.Clone(content), 'x'),
		"a line feed after the last line":   append(bytes.Clone(content), '\n'),
		"the last line feed is a byte":      append(bytes.Clone(whole), 'x'),
		"the last line feed is a zero":      append(bytes.Clone(whole), 0),
		"the beginning of a line again":     append(bytes.Clone(content), last[:50]...),
		"the beginning of a line elsewhere": append(bytes.Clone(content), next...),
		"zeros and then more":               append(append(bytes.Clone(content), 0, 0), last[20:]...),
		"zeros within the last line":        append(bytes.Clone(content[:len(content)-20]), append(make([]byte, 10), content[len(content)-10:]...)...),
		"the last line torn in the middle":  slices.Delete(bytes.Clone(content), len(content)-30, len(content)-20),
		"a line of no end":                  append(bytes.Clone(content), bytes.Repeat([]byte("x"), ledger.MaxLine+2)...),
	} {
		put(t, dir, bad)
		if b, err := Open(t.Context(), dir, options()); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: Open = %v, want ErrDamaged", name, err)
			if err == nil {
				b.Close()
			}
		}
		if got := read(t, dir); !bytes.Equal(got, bad) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for _, none := range [][]byte{nil, content[:40], bytes.Clone(content[:bytes.IndexByte(content, '\n')-1])} {
		put(t, dir, none)
		if _, err := Open(t.Context(), dir, options()); !errors.Is(err, ledger.ErrTruncated) {
			t.Errorf("Open of %d bytes = %v, want ErrTruncated", len(none), err)
		}
	}
}

// A torn end is not cut off a ledger that is damaged elsewhere, or signed by strangers: it may be evidence.
func TestNothingIsCutOffBeforeAllIsVerified(t *testing.T) {
	dir, content := written(t, 2)
	torn := append(bytes.Clone(content), `{"v":1,`...)
	put(t, dir, torn)
	for what, o := range map[string]ledger.Options{"a stranger's": ledgertest.Options("theirs")} {
		if _, err := Open(t.Context(), dir, o); !errors.Is(err, ledger.ErrForged) || !bytes.Equal(read(t, dir), torn) {
			t.Errorf("%s: Open = %v, and the file stayed: %t", what, err, bytes.Equal(read(t, dir), torn))
		}
	}
	torn[len(content)/2] ^= 1
	put(t, dir, torn)
	if _, err := Open(t.Context(), dir, options()); !errors.Is(err, ledger.ErrDamaged) || !bytes.Equal(read(t, dir), torn) {
		t.Errorf("damaged: Open = %v, and the file stayed: %t", err, bytes.Equal(read(t, dir), torn))
	}
}

// faulty is a file that fails as it is told.
type faulty struct {
	*os.File
	write, sync error
	short       int // bytes that a failing write leaves
}

func (f *faulty) WriteAt(p []byte, at int64) (int, error) {
	if f.write == nil {
		return f.File.WriteAt(p, at)
	}
	n, _ := f.File.WriteAt(p[:min(f.short, len(p))], at)
	return n, f.write
}

func (f *faulty) Sync() error { return errors.Join(f.sync, f.File.Sync()) }

// After a write or a sync that failed nothing is believed and nothing is written, until the ledger is opened again; that
// finds what was acknowledged, and the append can be repeated.
func TestAFailedWriteOrSyncEndsIt(t *testing.T) {
	for _, c := range []faulty{
		{write: syscall.ENOSPC}, {write: syscall.ENOSPC, short: 100}, {write: syscall.EIO, short: 1 << 20}, {sync: syscall.EIO}, {sync: syscall.EDQUOT},
	} {
		dir, _ := written(t, 2)
		var f *faulty
		b, err := open(t.Context(), dir, options(), func(real *os.File) handle { f = &faulty{File: real}; return f })
		if err != nil {
			t.Fatal(err)
		}
		f.write, f.sync, f.short = c.write, c.sync, c.short
		_, err = b.Append(t.Context(), ledgertest.Entries(2, 4)...)
		if !errors.Is(err, ledger.ErrFailed) || !errors.Is(err, errors.Join(c.write, c.sync)) && c.write != nil && !errors.Is(err, c.write) {
			t.Errorf("%+v: Append = %v, want ErrFailed and its cause", c, err)
		}
		f.write, f.sync = nil, nil // the disk seems to be well again
		if _, err := b.Append(t.Context(), ledgertest.Entry(2)); !errors.Is(err, ledger.ErrFailed) {
			t.Errorf("%+v: the next Append = %v, want ErrFailed", c, err)
		}
		if _, err := b.Head(t.Context()); !errors.Is(err, ledger.ErrFailed) {
			t.Errorf("%+v: Head = %v, want ErrFailed", c, err)
		}
		if _, found, _ := b.Find(t.Context(), ledgertest.Entry(2).Ref); found {
			t.Errorf("%+v: what was not acknowledged is found", c)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(t.Context(), dir, options())
		if err != nil {
			t.Fatalf("%+v: Open: %v", c, err)
		}
		if head, err := again.Append(t.Context(), ledgertest.Entries(0, 4)...); err != nil || head.Entries != 4 {
			t.Errorf("%+v: the append again = %d, %v; want 4 entries", c, head.Entries, err)
		}
		again.Close()
	}
}

// An older copy that takes the file's place is another file, whatever it holds; so is none.
func TestTheFileIsReplacedUnderALivingProcess(t *testing.T) {
	dir, older := written(t, 2)
	b, err := Open(t.Context(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Append(t.Context(), ledgertest.Entry(2)); err != nil {
		t.Fatal(err)
	}
	path := Path(dir, ledgertest.Tenant)
	kept := filepath.Join(dir, "kept")
	if err := os.Rename(path, kept); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Head(t.Context()); !errors.Is(err, ledger.ErrMissing) {
		t.Errorf("Head of none = %v, want ErrMissing", err)
	}
	for name, copied := range map[string][]byte{"older": older, "same": mustRead(t, kept)} {
		put(t, dir, copied)
		if _, err := b.Head(t.Context()); !errors.Is(err, ledger.ErrForged) {
			t.Errorf("Head over the %s copy = %v, want ErrForged", name, err)
		}
		if _, err := b.Append(t.Context(), ledgertest.Entry(3)); !errors.Is(err, ledger.ErrForged) {
			t.Errorf("Append over the %s copy = %v, want ErrForged", name, err)
		}
	}
	if err := os.Rename(kept, path); err != nil {
		t.Fatal(err)
	}
	if head, err := b.Append(t.Context(), ledgertest.Entry(3)); err != nil || head.Entries != 4 {
		t.Errorf("Append with the file back = %d, %v; want 4", head.Entries, err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A Create that fails, or meets a ledger, leaves nothing of its own.
func TestCreateLeavesNothingButALedger(t *testing.T) {
	dir, _ := written(t, 1)
	if _, err := Create(t.Context(), dir, options()); !errors.Is(err, ledger.ErrExists) {
		t.Fatalf("Create = %v, want ErrExists", err)
	}
	failing := options()
	failing.Tenant = "other"
	away := errors.New("the keys are away")
	failing.Keys = func(context.Context) ([]ed25519.PublicKey, error) { return nil, away }
	if _, err := Create(t.Context(), dir, failing); !errors.Is(err, away) {
		t.Fatalf("Create = %v, want that error", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 || !strings.HasSuffix(e.Name(), suffix) {
			t.Errorf("%s lies there with mode %v (%v)", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) != 2 {
		t.Errorf("%d files, want one for each tenant", len(entries))
	}
}
