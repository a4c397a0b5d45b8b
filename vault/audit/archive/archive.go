// Package archive keeps a transparency log outside the vault, in a folder that anybody can check offline and with other tools.
//
// A folder is laid out as c2sp.org/tlog-tiles has it: checkpoint, tile/<L>/<N>[.p/<W>] and tile/entries/<N>[.p/<W>]. Beside that
// it has the log's successions, each a signed note, as succession/000 and so on, and key, the first key of the log that whoever keeps
// the folder holds to be right, with a line feed after it.
//
// [Export] brings a folder up to date from a server that it does not trust: the checkpoint is written last, when everything under it
// has been verified, and the tree of the checkpoint before is its beginning. [Verify] does the verifying alone, of everything.
package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// The ways a log fails its verification. All wrap ErrTampered but ErrLost and ErrPruned.
var (
	// ErrTampered: something is not what the checkpoint says.
	ErrTampered = errors.New("archive: the log does not verify")
	// ErrForked: two checkpoints, each signed, contradict each other. Keep both: they are the proof.
	ErrForked = fmt.Errorf("%w: it was forked", ErrTampered)
	// ErrLost: the log went on under another origin from fewer entries than were signed before. By its own word it lacks the
	// rest, as after the restoring of a backup.
	ErrLost = errors.New("archive: the log goes on from fewer entries than an earlier checkpoint covers")
	// ErrPruned: the first entries are not there, only their hashes. Whether a retention explains that the log cannot tell.
	ErrPruned = errors.New("archive: the first entries are not there")
)

func tampered(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s", ErrTampered, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrTampered, what, err)
}

// Report is what was verified.
type Report struct {
	Tree   checkpoint.Tree // of the checkpoint
	Note   []byte          // the checkpoint, with whatever cosignatures are under it
	Keys   []checkpoint.Key
	Pruned int64 // leading entries whose bytes are no longer there; their hashes are
	Lost   int64 // entries, at least, that were signed and that the log by its own successions went on without
}

// log is a folder, or what is to become of it, under verification.
type log struct {
	dir         string
	held        []checkpoint.Key // any of them is believed
	note        []byte           // the checkpoint
	successions [][]byte
	words       []checkpoint.Succession
	chain       []checkpoint.Key
	tree        checkpoint.Tree
	expect      map[int64]tlog.Hash // roots at earlier sizes
}

// open verifies the successions and the checkpoint, which must be of today's origin.
func (l *log) open(note []byte) (err error) {
	l.note = note
	for _, k := range l.held {
		if l.chain, err = checkpoint.Follow(k, l.successions...); err == nil {
			break
		}
	}
	if err != nil || len(l.chain) == 0 {
		return tampered("the successions", err)
	}
	if l.tree, err = checkpoint.OpenTree(note, l.chain...); err != nil {
		return tampered("the checkpoint", err)
	}
	if l.tree.Origin != l.chain[len(l.chain)-1].Name {
		return tampered("the checkpoint is of an origin that the log has left", nil)
	}
	l.expect = map[int64]tlog.Hash{}
	for _, msg := range l.successions {
		s, err := checkpoint.OpenSuccession(msg)
		if err != nil {
			return tampered("the successions", err)
		}
		l.words = append(l.words, s)
	}
	for i, s := range l.words {
		if s.To.Name == l.tree.Origin && s.From.Name != l.tree.Origin && s.Size > l.tree.Size {
			return fmt.Errorf("%w: the origin began with %d entries, and now there are %d", ErrForked, s.Size, l.tree.Size)
		}
		if s.Size <= l.kept(i+1) {
			if err := l.demand(s.Size, s.Root); err != nil {
				return err
			}
		}
	}
	return l.demand(l.tree.Size, l.tree.Root)
}

// kept is how many entries of what was there before the i-th succession the log has today.
func (l *log) kept(i int) int64 {
	n := l.tree.Size
	for _, s := range l.words[i:] {
		n = min(n, s.Size)
	}
	return n
}

// lost is how many entries the successions show to have been signed and gone on without. There may have been more.
func (l *log) lost() (n int64) {
	for i, s := range l.words[min(1, len(l.words)):] {
		n += max(0, l.words[i].Size-s.Size)
	}
	return n
}

// demand has the tree be of root at a size.
func (l *log) demand(size int64, root tlog.Hash) error {
	if size > l.tree.Size {
		return fmt.Errorf("%w: %d entries were signed, and now there are %d", ErrForked, size, l.tree.Size)
	}
	if before, ok := l.expect[size]; ok && before != root {
		return fmt.Errorf("%w: two roots at %d entries", ErrForked, size)
	}
	l.expect[size] = root
	return nil
}

// since demands that an earlier checkpoint is of the beginning of the log.
func (l *log) since(note []byte) error {
	old, err := checkpoint.OpenTree(note, l.chain...)
	if err != nil {
		return tampered("the earlier checkpoint", err)
	}
	for i, s := range l.words { // the last that it may be older than
		if s.From.Name == old.Origin && s.To.Name != old.Origin && old.Size > l.kept(i) {
			return fmt.Errorf("%w: %d entries, now %d", ErrLost, old.Size, l.kept(i))
		}
	}
	return l.demand(old.Size, old.Root)
}

// verify reads every tile and every entry that is there.
func (l *log) verify() (pruned int64, err error) {
	edge := checkpoint.Edge{}
	check := func() error {
		want, ok := l.expect[edge.Size]
		if !ok {
			return nil
		}
		root, err := edge.Root()
		if err != nil {
			return err
		}
		if root != want {
			return fmt.Errorf("%w: the first %d entries are not those that were signed", ErrForked, edge.Size)
		}
		return nil
	}
	if err := check(); err != nil {
		return 0, err
	}
	whole := false // an entry was there: those after it must be
	for start := int64(0); start < l.tree.Size; start += checkpoint.Width {
		width := int(min(checkpoint.Width, l.tree.Size-start))
		entries, err := l.bundle(start/checkpoint.Width, width)
		if errors.Is(err, os.ErrNotExist) && width == checkpoint.Width && !whole {
			pruned += checkpoint.Width
		} else if whole = true; err != nil {
			return 0, tampered(fmt.Sprintf("entries from %d", start), err)
		}
		leaves, err := l.read(checkpoint.Tile{Index: start / checkpoint.Width, Width: width})
		if err != nil {
			return 0, err
		}
		for i := range width {
			leaf := tlog.Hash(leaves[i*tlog.HashSize:])
			if entries != nil && tlog.RecordHash(entries[i]) != leaf {
				return 0, tampered(fmt.Sprintf("entry %d", start+int64(i)), nil)
			}
			if err := edge.Add(leaf, l.compare); err != nil {
				return 0, err
			}
			if err := check(); err != nil {
				return 0, err
			}
		}
	}
	for level, hashes := range edge.Tiles {
		if len(hashes) > 0 {
			if err := l.compare(edge.Partial(level), hashes); err != nil {
				return 0, err
			}
		}
	}
	return pruned, nil
}

func (l *log) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

// read reads a tile of hashes.
func (l *log) read(t checkpoint.Tile) ([]byte, error) {
	b, err := readFile(l.path(t.Path()), checkpoint.Width*tlog.HashSize)
	if err != nil {
		return nil, tampered("a tile", err)
	}
	if len(b) != t.Width*tlog.HashSize {
		return nil, tampered(t.Path()+" has another length", nil)
	}
	return b, nil
}

// compare demands that the folder's tile is these hashes.
func (l *log) compare(t checkpoint.Tile, hashes []byte) error {
	b, err := l.read(t)
	if err == nil && string(b) != string(hashes) {
		err = tampered(t.Path(), nil)
	}
	return err
}

func (l *log) bundle(index int64, width int) ([][]byte, error) {
	const longest = checkpoint.Width * (2 + checkpoint.MaxEntry)
	b, err := readFile(l.path(checkpoint.Tile{Level: checkpoint.Entries, Index: index, Width: width}.Path()), longest)
	if err != nil {
		return nil, err
	}
	return checkpoint.ParseBundle(b, width)
}

// Against is what a folder is verified against.
type Against struct {
	Keys   []checkpoint.Key // that are held to be right; any of them is believed
	Since  []byte           // an earlier checkpoint, whose log must be the beginning; nil for none
	Pruned bool             // that the first entries are not there is as it should be
}

// Verify verifies all of a folder: the successions, the checkpoint, every tile and every entry. It fails with ErrTampered,
// ErrForked, ErrLost or ErrPruned.
func Verify(dir string, against Against) (*Report, error) {
	note, err := readFile(filepath.Join(dir, checkpointFile), checkpoint.MaxNote)
	if err != nil {
		return nil, tampered("the checkpoint", err)
	}
	successions, err := readSuccessions(dir)
	if err != nil {
		return nil, err
	}
	l := &log{dir: dir, held: against.Keys, successions: successions}
	if err := l.open(note); err != nil {
		return nil, err
	}
	if against.Since != nil {
		if err := l.since(against.Since); err != nil {
			return nil, err
		}
	}
	pruned, err := l.verify()
	if err != nil {
		return nil, err
	}
	if pruned > 0 && !against.Pruned {
		return nil, fmt.Errorf("%w: %d of %d", ErrPruned, pruned, l.tree.Size)
	}
	return l.report(pruned), nil
}

func (l *log) report(pruned int64) *Report {
	return &Report{Tree: l.tree, Note: l.note, Keys: l.chain, Pruned: pruned, Lost: l.lost()}
}

const (
	checkpointFile = "checkpoint"
	keyFile        = "key"
)

func successionFile(i int) string { return fmt.Sprintf("succession/%03d", i) }

func readSuccessions(dir string) (notes [][]byte, err error) {
	for i := range maxSuccessions {
		b, err := readFile(filepath.Join(dir, filepath.FromSlash(successionFile(i))), checkpoint.MaxNote)
		if errors.Is(err, os.ErrNotExist) {
			return notes, nil
		}
		if err != nil {
			return nil, err
		}
		notes = append(notes, b)
	}
	return nil, tampered("more successions than any log has", nil)
}

// maxSuccessions is how many successions a folder may have: one for each rotation and promotion.
const maxSuccessions = 10_000

// readFile reads a file of a folder that may have been made to stall whoever reads it, or to exhaust their memory: it must be a
// regular one of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, tampered(filepath.Base(path)+" is no file, or larger than any of a log", nil)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, limit))
}

// Held is the key that a folder is kept under.
func Held(dir string) (checkpoint.Key, error) {
	b, err := readFile(filepath.Join(dir, keyFile), checkpoint.MaxNote)
	if err != nil {
		return checkpoint.Key{}, err
	}
	return checkpoint.ParseKey(strings.TrimSuffix(string(b), "\n"))
}
