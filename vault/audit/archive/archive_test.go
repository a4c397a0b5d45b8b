package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/archive"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

type signer struct {
	name string
	key  ed25519.PrivateKey
}

func newSigner(name string) signer {
	_, key, _ := ed25519.GenerateKey(nil)
	return signer{name, key}
}

func (s signer) Key() checkpoint.Key {
	return checkpoint.Key{Name: s.name, Public: s.key.Public().(ed25519.PublicKey)}
}
func (s signer) Sign(_ context.Context, msg []byte) ([]byte, error) {
	return ed25519.Sign(s.key, msg), nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a log as a server has it: whoever makes one signs what he likes.
type server struct {
	t           testing.TB
	by          signer
	entries     [][]byte
	pruned      int64
	successions [][]byte
}

func (s *server) grow(n int, salt string) *server {
	for range n {
		s.entries = append(s.entries, fmt.Appendf(nil, `{"n":%d,"by":%q}`, len(s.entries), salt))
	}
	return s
}

// fork is a server with the first n entries.
func (s *server) fork(n int) *server {
	return &server{t: s.t, by: s.by, entries: slices.Clone(s.entries[:n]), successions: slices.Clone(s.successions)}
}

func (s *server) tree() (checkpoint.Tree, map[checkpoint.Tile][]byte) {
	s.t.Helper()
	tiles := map[checkpoint.Tile][]byte{}
	var edge checkpoint.Edge
	for _, e := range s.entries {
		check(s.t, edge.Add(tlog.RecordHash(e), func(t checkpoint.Tile, b []byte) error { tiles[t] = b; return nil }))
	}
	for level, b := range edge.Tiles {
		tiles[edge.Partial(level)] = b
	}
	root, err := edge.Root()
	check(s.t, err)
	return checkpoint.Tree{Origin: s.by.name, Size: edge.Size, Root: root}, tiles
}

func (s *server) Checkpoint(ctx context.Context) ([]byte, error) {
	tree, _ := s.tree()
	text, err := tree.Marshal()
	check(s.t, err)
	return checkpoint.Sign(ctx, text, s.by)
}

func (s *server) Tile(_ context.Context, t checkpoint.Tile) ([]byte, error) {
	if t.Level != checkpoint.Entries {
		_, tiles := s.tree()
		return tiles[t], nil
	}
	if t.Index < s.pruned {
		return nil, archive.ErrAbsent
	}
	var b []byte
	for _, e := range s.entries[t.Start() : t.Start()+int64(t.Width)] {
		b, _ = checkpoint.AppendEntry(b, e)
	}
	return b, nil
}

func (s *server) Successions(context.Context) ([][]byte, error) { return s.successions, nil }

// passTo has the log go on under another key or origin.
func (s *server) passTo(next signer) {
	tree, _ := s.tree()
	note, err := checkpoint.SignSuccession(s.t.Context(), checkpoint.Succession{From: s.by.Key(), To: next.Key(), Size: tree.Size, Root: tree.Root}, s.by)
	check(s.t, err)
	s.successions, s.by = append(s.successions, note), next
}

func (s *server) export(dir string, key checkpoint.Key) (*archive.Report, error) {
	s.t.Helper()
	return archive.Export(s.t.Context(), dir, key, s)
}

func TestAnExportGoesOnWhereItEnded(t *testing.T) {
	s := (&server{t: t, by: newSigner("log.example/1")}).grow(10, "a")
	held, dir := s.by.Key(), t.TempDir()
	var first []byte
	for i, n := range []int{0, 1, 245, 1, 600, 0} {
		s.grow(n, "a")
		switch i {
		case 3:
			s.passTo(newSigner("log.example/1")) // a rotation
		case 4:
			s.passTo(newSigner("log.example/2")) // a promotion
		}
		r, err := s.export(dir, held)
		if err != nil || r.Tree.Size != int64(len(s.entries)) {
			t.Fatalf("export %d: %+v, %v", i, r, err)
		}
		if first == nil {
			first, _ = s.Checkpoint(t.Context())
		}
		if _, err := archive.Verify(dir, archive.Against{Keys: []checkpoint.Key{held}, Since: first}); err != nil {
			t.Errorf("after export %d: %v", i, err)
		}
	}
	if r, err := archive.Verify(dir, archive.Against{Keys: []checkpoint.Key{newSigner("log.example/1").Key()}}); err == nil {
		t.Errorf("by a stranger's key: %+v", r)
	}
}

func TestAForkIsNotExported(t *testing.T) {
	good := (&server{t: t, by: newSigner("log.example/1")}).grow(300, "a")
	held := good.by.Key()
	for name, c := range map[string]struct {
		turned *server
		want   error
	}{
		"another history":           {good.fork(200).grow(300, "b"), archive.ErrForked},
		"another end":               {good.fork(299).grow(1, "b"), archive.ErrForked},
		"the end cut":               {good.fork(299), archive.ErrForked},
		"signed by somebody else":   {&server{t: t, by: newSigner("log.example/1"), entries: good.entries}, archive.ErrTampered},
		"under another origin":      {&server{t: t, by: newSigner("log.example/2"), entries: good.entries}, archive.ErrTampered},
		"gone on from fewer":        {func() *server { s := good.fork(250); s.passTo(newSigner("log.example/2")); return s.grow(100, "b") }(), archive.ErrLost},
		"gone on from another tree": {func() *server { s := good.fork(200).grow(100, "b"); s.passTo(newSigner("log.example/2")); return s }(), archive.ErrForked},
	} {
		dir, good := t.TempDir(), good.fork(300)
		_, err := good.export(dir, held)
		check(t, err)
		if r, err := c.turned.export(dir, held); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if _, err := good.grow(1, "a").export(dir, held); err != nil {
			t.Errorf("%s: the folder cannot be gone on from: %v", name, err)
		}
	}
}

func TestWhatWasPrunedIsSaidToBe(t *testing.T) {
	s := (&server{t: t, by: newSigner("log.example/1"), pruned: 1}).grow(600, "a")
	dir := t.TempDir()
	keys := []checkpoint.Key{s.by.Key()}
	if r, err := s.export(dir, keys[0]); err != nil || r.Pruned != 256 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := archive.Verify(dir, archive.Against{Keys: keys}); !errors.Is(err, archive.ErrPruned) {
		t.Errorf("unasked: %v", err)
	}
	if r, err := archive.Verify(dir, archive.Against{Keys: keys, Pruned: true}); err != nil || r.Pruned != 256 {
		t.Errorf("%+v, %v", r, err)
	}
	check(t, os.Remove(filepath.Join(dir, "tile/entries/001")))
	s.pruned = 0
	if r, err := archive.Verify(dir, archive.Against{Keys: keys, Pruned: true}); err != nil || r.Pruned != 512 {
		t.Errorf("two bundles: %+v, %v", r, err)
	}
}

// scale is by how much a test does more than usual.
func scale() int {
	n, _ := strconv.Atoi(os.Getenv("SANDYQ_TEST_SCALE"))
	return max(1, n)
}

// TestEveryTamperingIsFound edits, swaps, cuts, doubles and drops at random in a folder that verified, and rewrites its history
// under the attacker's own key.
func TestEveryTamperingIsFound(t *testing.T) {
	s := (&server{t: t, by: newSigner("log.example/1")}).grow(100, "a")
	held := []checkpoint.Key{s.by.Key()}
	s.passTo(newSigner("log.example/1"))
	s.grow(200, "a")
	s.passTo(newSigner("log.example/2"))
	s.grow(37, "a")
	dir := t.TempDir()
	_, err := s.export(dir, held[0])
	check(t, err)
	files := map[string][]byte{}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "key" {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = b
		return err
	}))
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	against := archive.Against{Keys: held}
	if _, err := archive.Verify(dir, against); err != nil || len(names) != 8 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	random := rand.New(rand.NewPCG(7, 7))
	for round := range 1000 * scale() {
		name := names[random.IntN(len(names))]
		b := bytes.Clone(files[name])
		what := "edited"
		changed := map[string][]byte{}
		switch random.IntN(7) {
		case 0, 1:
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		case 2:
			what = "cut"
			b = b[:random.IntN(len(b))]
		case 3:
			what = "doubled in part"
			i := random.IntN(len(b))
			b = slices.Concat(b[:i], b[random.IntN(i+1):])
		case 4:
			what = "dropped"
			b = nil
		case 5:
			other := names[random.IntN(len(names))]
			what = "swapped with " + filepath.Base(other)
			b, changed[other] = files[other], files[name]
		case 6:
			what = "with 32 bytes swapped"
			i, j := random.IntN(len(b)/32+1)*32, random.IntN(len(b)/32+1)*32
			i, j = min(i, len(b)-32), min(j, len(b)-32)
			if i < 0 || j < 0 || max(i, j)-min(i, j) < 32 {
				continue
			}
			swap := bytes.Clone(b[i : i+32])
			copy(b[i:], b[j:j+32])
			copy(b[j:], swap)
		}
		changed[name] = b
		same := true
		for name, b := range changed {
			same = same && b != nil && bytes.Equal(b, files[name])
			put(t, name, b)
		}
		if r, err := archive.Verify(dir, against); err == nil && !same {
			t.Errorf("round %d: %s %s verifies: %+v", round, filepath.Base(name), what, r)
		}
		for name := range changed {
			put(t, name, files[name])
		}
	}
	thief := (&server{t: t, by: newSigner("log.example/2"), entries: slices.Clone(s.entries), successions: s.successions})
	for range 50 {
		thief.entries[random.IntN(len(thief.entries))] = []byte("something else")
		turned := t.TempDir()
		_, err := archive.Export(t.Context(), turned, held[0], thief)
		if !errors.Is(err, archive.ErrTampered) {
			t.Fatalf("a history that somebody else signed: %v", err)
		}
	}
	if _, err := archive.Verify(dir, against); err != nil {
		t.Errorf("put back as it was: %v", err)
	}
}

// put writes a file, or removes it when there are no bytes.
func put(t *testing.T, name string, b []byte) {
	t.Helper()
	if b == nil {
		check(t, os.Remove(name))
		return
	}
	check(t, os.WriteFile(name, b, 0o600))
}

// TestWhatTheLogLostIsSaid: a log that by its own successions went on from fewer entries says so to who has no earlier
// checkpoint, and a head that is smaller than what its origin began with contradicts them.
func TestWhatTheLogLostIsSaid(t *testing.T) {
	s := (&server{t: t, by: newSigner("log.example/1")}).grow(300, "a")
	held := s.by.Key()
	s.passTo(newSigner("log.example/1"))
	lacks := s.fork(250)
	lacks.passTo(newSigner("log.example/2"))
	dir := t.TempDir()
	if r, err := lacks.grow(100, "b").export(dir, held); err != nil || r.Lost != 50 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := archive.Verify(dir, archive.Against{Keys: []checkpoint.Key{held}}); err != nil || r.Lost != 50 {
		t.Errorf("%+v, %v", r, err)
	}
	s.passTo(newSigner("log.example/2"))
	if r, err := s.fork(280).export(t.TempDir(), held); !errors.Is(err, archive.ErrForked) {
		t.Errorf("a head below the origin's beginning: %+v, %v", r, err)
	}
}

// TestAFolderMadeToExhaust: what would stall a reader, or fill their memory, is refused.
func TestAFolderMadeToExhaust(t *testing.T) {
	s := (&server{t: t, by: newSigner("log.example/1")}).grow(300, "a")
	s.passTo(newSigner("log.example/1"))
	held := []checkpoint.Key{s.by.Key()}
	for _, name := range []string{"checkpoint", "tile/0/001.p/44", "tile/entries/000", "succession/000", "key"} {
		dir := t.TempDir()
		_, err := s.export(dir, held[0])
		check(t, err)
		path := filepath.Join(dir, filepath.FromSlash(name))
		read := func() error {
			if name == "key" {
				_, err := archive.Held(dir)
				return err
			}
			_, err := archive.Verify(dir, archive.Against{Keys: held})
			return err
		}
		check(t, read())
		check(t, os.Truncate(path, 1<<40)) // it takes no room on the disk
		if err := read(); !errors.Is(err, archive.ErrTampered) {
			t.Errorf("%s of a terabyte: %v", name, err)
		}
		check(t, os.Remove(path))
		check(t, os.Symlink("/dev/zero", path))
		if err := read(); !errors.Is(err, archive.ErrTampered) {
			t.Errorf("%s without an end: %v", name, err)
		}
	}
}

// vast is a server that says, signed, that it has more entries than anybody could list.
type vast struct{ *server }

func (s vast) Checkpoint(ctx context.Context) ([]byte, error) {
	text, err := checkpoint.Tree{Origin: s.by.name, Size: 1 << 60}.Marshal()
	check(s.t, err)
	return checkpoint.Sign(ctx, text, s.by)
}

func (s vast) Tile(_ context.Context, t checkpoint.Tile) ([]byte, error) {
	return nil, fmt.Errorf("no %s: %w", t.Path(), fs.ErrInvalid)
}

// TestAVastLog: a head of any size is refused when its first tile is not there, and takes no memory before that.
func TestAVastLog(t *testing.T) {
	s := vast{&server{t: t, by: newSigner("log.example/1")}}
	if _, err := archive.Export(t.Context(), t.TempDir(), s.by.Key(), s); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v", err)
	}
}
