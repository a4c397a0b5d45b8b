package snapshot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms/hashicorp/snapshot"
	"github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver"
)

func TestMain(m *testing.M) { os.Exit(vaultserver.Main(m)) }

var now = time.Date(2026, 11, 22, 18, 30, 0, 0, time.UTC)

type file struct {
	name    string
	content []byte
}

// whole are the files of an archive as HashiCorp Vault writes it.
func whole(state []byte) []file {
	meta := []byte(`{"Version":1}`)
	sums := fmt.Appendf(nil, "%x  state.bin\n%x  meta.json\n", sha256.Sum256(state), sha256.Sum256(meta))
	return []file{{"meta.json", meta}, {"state.bin", state}, {"SHA256SUMS", sums}, {"SHA256SUMS.sealed", []byte("sealed")}}
}

func archive(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	w := tar.NewWriter(zipped)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o600, Size: int64(len(f.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// state is what does not compress, of more than one of age's chunks.
func state() []byte {
	b := make([]byte, 0, 200<<10)
	for sum := sha256.Sum256(nil); len(b) < cap(b); sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b
}

// folders makes one for snapshots and one for outer keys.
func folders(t *testing.T) (dir string, outer *snapshot.Outer) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "snapshots")
	for _, path := range []string{dir, filepath.Join(base, "outer")} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	outer, err := snapshot.OpenOuter(filepath.Join(base, "outer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outer.Close() })
	return dir, outer
}

func keysOf(t *testing.T, outer *snapshot.Outer) []snapshot.Key {
	t.Helper()
	keys, err := outer.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Name()
	}
	return all
}

func take(t *testing.T, content []byte, path string, outer *snapshot.Outer, days int) snapshot.Key {
	t.Helper()
	taken, err := snapshot.Take(t.Context(), bytes.NewReader(content), path, outer, snapshot.Day(now, days))
	if err != nil {
		t.Fatal(err)
	}
	if taken.Size != int64(len(content)) {
		t.Errorf("took %d bytes of %d", taken.Size, len(content))
	}
	return taken.Key
}

func outerFile(dir string, k snapshot.Key) string {
	return filepath.Join(dir, "..", "outer", k.ID.String()+"."+k.Expires.Format(time.DateOnly)+".outer")
}

func TestTakeAndOpen(t *testing.T) {
	dir, outer := folders(t)
	content := archive(t, whole(state()))
	sealed, opened := filepath.Join(dir, "a"), filepath.Join(dir, "opened")
	key := take(t, content, sealed, outer, 30)
	take(t, content, filepath.Join(dir, "b"), outer, 30)
	if size, err := snapshot.Open(t.Context(), sealed, opened, outer, now); err != nil || size != int64(len(content)) {
		t.Fatalf("open: %d bytes of %d (%v)", size, len(content), err)
	}
	if got, err := os.ReadFile(opened); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was opened is not what was taken (%v)", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"a", "b", "opened"}) {
		t.Errorf("left %v", got)
	}
	for _, path := range []string{sealed, opened, outerFile(dir, key)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", filepath.Base(path), info.Mode(), err)
		}
	}
	if b, err := os.ReadFile(sealed); err != nil || bytes.Contains(b, state()[:32]) {
		t.Errorf("the state lies in the clear (%v)", err)
	}
}

// TestCutOrDamaged: no stream that ends early, or brings something else, leaves a file or an outer key.
func TestCutOrDamaged(t *testing.T) {
	good := whole(state())
	content := archive(t, good)
	cases := map[string][]byte{
		"nothing":         {},
		"a page":          []byte("<html>not found</html>"),
		"no last file":    archive(t, good[:3]),
		"no sums":         archive(t, []file{good[0], good[1], good[3]}),
		"empty last file": archive(t, []file{good[0], good[1], good[2], {good[3].name, nil}}),
		"no state":        archive(t, []file{good[0], good[2], good[3]}),
		"another state":   archive(t, []file{good[0], {"state.bin", []byte("other")}, good[2], good[3]}),
		"more behind it":  append(slices.Clone(content), 0),
	}
	for cut := 1; cut < len(content); cut += len(content) / 9 {
		cases[fmt.Sprintf("cut at %d", cut)] = content[:cut]
	}
	for _, back := range []int{1, 4, 8, 9} { // within gzip's own end, and before
		cases[fmt.Sprintf("cut %d before the end", back)] = content[:len(content)-back]
	}
	flipped := slices.Clone(content)
	flipped[len(flipped)/2] ^= 1
	cases["bit flip"] = flipped
	for name, bad := range cases {
		dir, outer := folders(t)
		_, err := snapshot.Take(t.Context(), bytes.NewReader(bad), filepath.Join(dir, "a"), outer, snapshot.Day(now, 1))
		if !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if left, keys := names(t, dir), keysOf(t, outer); len(left) > 0 || len(keys) > 0 {
			t.Errorf("%s: left the files %v and %d outer keys", name, left, len(keys))
		}
	}
}

// TestOnTheWay looks at the folders while the archive streams: what a kill at this moment would leave opens nothing and has
// not the snapshot's name, and the outer key was there before the first byte.
func TestOnTheWay(t *testing.T) {
	dir, outer := folders(t)
	content := archive(t, whole(state()))
	reads := 0
	source := iotest.OneByteReader(bytes.NewReader(content[:64]))
	watched := readerFunc(func(b []byte) (int, error) {
		reads++
		if keys := keysOf(t, outer); len(keys) != 1 {
			t.Errorf("%d outer keys while the archive streams", len(keys))
		}
		if left := names(t, dir); len(left) != 1 || !strings.HasSuffix(left[0], ".part") {
			t.Errorf("the files %v while the archive streams", left)
		}
		return source.Read(b)
	})
	_, err := snapshot.Take(t.Context(), io.MultiReader(watched, bytes.NewReader(content[64:])), filepath.Join(dir, "a"), outer, snapshot.Day(now, 1))
	if err != nil || reads < 64 {
		t.Errorf("%d reads: %v", reads, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestTakeFails(t *testing.T) {
	content := archive(t, whole(state()))
	broken := errors.New("connection reset")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, try := range map[string]struct {
		ctx  context.Context
		from io.Reader
		want error
	}{
		"the connection": {t.Context(), io.MultiReader(bytes.NewReader(content[:100]), iotest.ErrReader(broken)), broken},
		"the operator":   {stopped, bytes.NewReader(content), context.Canceled},
	} {
		dir, outer := folders(t)
		if _, err := snapshot.Take(try.ctx, try.from, filepath.Join(dir, "a"), outer, snapshot.Day(now, 1)); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
		if left, keys := names(t, dir), keysOf(t, outer); len(left) > 0 || len(keys) > 0 {
			t.Errorf("%s: left the files %v and %d outer keys", name, left, len(keys))
		}
	}
}

func TestNothingIsReplaced(t *testing.T) {
	dir, outer := folders(t)
	content := archive(t, whole(state()))
	sealed := filepath.Join(dir, "a")
	take(t, content, sealed, outer, 30)
	before, err := os.ReadFile(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Take(t.Context(), bytes.NewReader(content), sealed, outer, snapshot.Day(now, 1)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("take over a snapshot: %v, want fs.ErrExist", err)
	}
	if _, err := snapshot.Open(t.Context(), sealed, sealed, outer, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("open over a snapshot: %v, want fs.ErrExist", err)
	}
	if after, err := os.ReadFile(sealed); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the snapshot was replaced (%v)", err)
	}
	if keys := keysOf(t, outer); len(keys) != 1 {
		t.Errorf("%d outer keys for one snapshot", len(keys))
	}
}

func TestOpenDamaged(t *testing.T) {
	dir, outer := folders(t)
	take(t, archive(t, whole(state())), filepath.Join(dir, "a"), outer, 30)
	sealed, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"no header":      func([]byte) []byte { return []byte("not an age file") },
		"cut":            func(b []byte) []byte { return b[:len(b)-1] },
		"cut in a chunk": func(b []byte) []byte { return b[:len(b)/2] },
		"bit flip":       func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"longer":         func(b []byte) []byte { return append(b, 0) },
	} {
		if err := os.WriteFile(filepath.Join(dir, "b"), damage(slices.Clone(sealed)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.Open(t.Context(), filepath.Join(dir, "b"), filepath.Join(dir, "opened"), outer, now); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%s: left %v", name, got)
		}
	}
}

// TestExpire: on its day a key is overwritten under every name that it has, and the snapshot is noise.
func TestExpire(t *testing.T) {
	dir, outer := folders(t)
	content := archive(t, whole(state()))
	short, long := take(t, content, filepath.Join(dir, "short"), outer, 1), take(t, content, filepath.Join(dir, "long"), outer, 30)
	witness := filepath.Join(t.TempDir(), "witness")
	for _, link := range []string{witness, outerFile(dir, short) + ".new"} { // the second as a kill leaves it
		if err := os.Link(outerFile(dir, short), link); err != nil {
			t.Fatal(err)
		}
	}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	if gone, err := outer.Expire(day.Add(-time.Nanosecond)); err != nil || len(gone) != 0 {
		t.Errorf("destroyed %d keys a moment before their day (%v)", len(gone), err)
	}
	if _, err := snapshot.Open(t.Context(), filepath.Join(dir, "short"), filepath.Join(dir, "opened"), outer, day); !errors.Is(err, snapshot.ErrNoKey) {
		t.Errorf("open with a key that is due: %v, want ErrNoKey", err)
	}
	gone, err := outer.Expire(day)
	if err != nil || !slices.Equal(gone, []snapshot.Key{short}) {
		t.Errorf("destroyed %v, want %v (%v)", gone, short, err)
	}
	if b, err := os.ReadFile(witness); err != nil || len(b) == 0 || !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("the key was unlinked without being overwritten (%v)", err)
	}
	if got := names(t, filepath.Join(dir, "..", "outer")); len(got) != 1 {
		t.Errorf("left %v", got)
	}
	if _, err := snapshot.Open(t.Context(), filepath.Join(dir, "short"), filepath.Join(dir, "opened"), outer, now); !errors.Is(err, snapshot.ErrNoKey) {
		t.Errorf("open after its day, with the clock set back: %v, want ErrNoKey", err)
	}
	if _, err := snapshot.Open(t.Context(), filepath.Join(dir, "long"), filepath.Join(dir, "opened"), outer, day); err != nil {
		t.Errorf("the other snapshot: %v", err)
	}
	if gone, err := outer.Expire(long.Expires); err != nil || len(gone) != 1 {
		t.Errorf("destroyed %d keys, want the last (%v)", len(gone), err)
	}
}

// TestStrangeFiles: what is no outer key would never be destroyed, so it is told; what is due is destroyed all the same.
func TestStrangeFiles(t *testing.T) {
	dir, outer := folders(t)
	key := take(t, archive(t, whole(state())), filepath.Join(dir, "a"), outer, 1)
	copied := outerFile(dir, key) + ".bak"
	if err := os.Link(outerFile(dir, key), copied); err != nil {
		t.Fatal(err)
	}
	gone, err := outer.Expire(key.Expires)
	if err == nil || !strings.Contains(err.Error(), ".bak") || len(gone) != 1 {
		t.Errorf("destroyed %d keys, %v; want 1, and the other file named", len(gone), err)
	}
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if _, err := outer.Expire(key.Expires); err != nil {
		t.Error(err)
	}
}

// TestDamagedOuterKey keeps no other snapshot from being opened.
func TestDamagedOuterKey(t *testing.T) {
	dir, outer := folders(t)
	content := archive(t, whole(state()))
	key := take(t, content, filepath.Join(dir, "a"), outer, 30)
	take(t, content, filepath.Join(dir, "b"), outer, 30)
	secret, err := os.ReadFile(outerFile(dir, key))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outerFile(dir, key), secret[:len(secret)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Open(t.Context(), filepath.Join(dir, "b"), filepath.Join(dir, "opened"), outer, now); err != nil {
		t.Error(err)
	}
	_, err = snapshot.Open(t.Context(), filepath.Join(dir, "a"), filepath.Join(dir, "opened.a"), outer, now)
	if !errors.Is(err, snapshot.ErrNoKey) || !strings.Contains(err.Error(), key.ID.String()) || strings.Contains(err.Error(), "AGE-SECRET") {
		t.Errorf("%v; want ErrNoKey that names the damaged key and does not tell it", err)
	}
}

func TestApart(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"a/b/c", "d", "ab"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(base, "a", "b"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		outer, other string
		ok           bool
	}{
		{"d", "a", true},
		{"a/b", "d", true},
		{"a", "ab", true},
		{"a", "gone", true},
		{"a/new", "d", true},
		{"a/new", "a/b", true},
		{"a/new", "a", false},
		{"link/new", "a/b", false},
		{"none/new", "d", false},
		{"a", "a", false},
		{"a", "a/b/c", false},
		{"a/b/c", "a", false},
		{"d/../a", "a/b", false},
		{"link", "a/b/c", false},
		{"a", "link", false},
		{"a/b/c", "link", false},
	} {
		err := snapshot.Apart(filepath.Join(base, c.outer), filepath.Join(base, "d", "..", "gone"), filepath.Join(base, c.other))
		if (err == nil) != c.ok {
			t.Errorf("outer keys in %s beside %s: %v", c.outer, c.other, err)
		}
	}
}

func TestTakeRefusesOneFolder(t *testing.T) {
	dir, _ := folders(t)
	inside := filepath.Join(dir, "outer")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	outer, err := snapshot.OpenOuter(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outer.Close() }()
	content := archive(t, whole(state()))
	for _, path := range []string{filepath.Join(dir, "a"), filepath.Join(inside, "a")} {
		if _, err := snapshot.Take(t.Context(), bytes.NewReader(content), path, outer, snapshot.Day(now, 1)); err == nil {
			t.Errorf("takes %s although the outer keys lie in %s", path, inside)
		}
	}
	if left := names(t, inside); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestOuterIsPrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.OpenOuter(dir); err == nil {
		t.Error("opens a folder that the group may reach")
	}
	if _, err := snapshot.OpenOuter(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// BenchmarkTake takes a snapshot whose state does not compress.
func BenchmarkTake(b *testing.B) {
	base := b.TempDir()
	for _, dir := range []string{"snapshots", "outer"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	outer, err := snapshot.OpenOuter(filepath.Join(base, "outer"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = outer.Close() }()
	content := archive(b, whole(bytes.Repeat(state(), 300)))
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		path := filepath.Join(base, "snapshots", "a")
		if _, err := snapshot.Take(b.Context(), bytes.NewReader(content), path, outer, snapshot.Day(now, 1)); err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			b.Fatal(err)
		}
	}
}
