package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// Source is a log as its server gives it. Nothing of it is believed.
type Source interface {
	// Checkpoint is the last one, a signed note.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Tile is a tile or a bundle of entries; ErrAbsent when the log has none, for bundles that were pruned.
	Tile(ctx context.Context, t checkpoint.Tile) ([]byte, error)
	// Successions are all of the log's, in order.
	Successions(ctx context.Context) ([][]byte, error)
}

// ErrAbsent is what a Source answers for a tile that it has not.
var ErrAbsent = errors.New("archive: the log has no such tile")

// Export brings a folder up to date: it fetches what the folder lacks, verifies all of it and that what was exported before is its
// beginning, and writes the checkpoint last. A folder that is new is kept under key from then on; key must be that of the folder
// otherwise, or the zero Key. After an error, what was exported before is as it was and may be gone on from. It fails as Verify
// does, or with the source's error.
func Export(ctx context.Context, dir string, key checkpoint.Key, from Source) (*Report, error) {
	held, err := settle(dir, key)
	if err != nil {
		return nil, err
	}
	before, err := readFile(filepath.Join(dir, checkpointFile), checkpoint.MaxNote)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l := &log{dir: dir, held: []checkpoint.Key{held}}
	note, err := from.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	// The successions come after the checkpoint, so that none is missing that it needs; of a key that signs since then, the
	// checkpoint is fetched again the next time.
	if l.successions, err = from.Successions(ctx); err != nil {
		return nil, err
	}
	known, err := readSuccessions(dir)
	if err != nil {
		return nil, err
	}
	for i, s := range known {
		if i >= len(l.successions) || !bytes.Equal(s, l.successions[i]) {
			return nil, fmt.Errorf("%w: it has other successions than before", ErrForked)
		}
	}
	if err := l.open(note); err != nil {
		return nil, err
	}
	have := int64(0)
	if len(before) > 0 {
		if err := l.since(before); err != nil {
			return nil, err
		}
		old, err := checkpoint.OpenTree(before, l.chain...)
		if err != nil {
			return nil, err
		}
		have = old.Size
	}
	if err := l.fetch(ctx, have, from); err != nil {
		return nil, err
	}
	pruned, err := l.verify()
	if err != nil {
		return nil, err
	}
	for i, s := range l.successions {
		if i >= len(known) {
			if err := l.write(successionFile(i), s); err != nil {
				return nil, err
			}
		}
	}
	return l.report(pruned), l.write(checkpointFile, note)
}

// settle returns the key that a folder is kept under, and makes it that of a folder that has none.
func settle(dir string, key checkpoint.Key) (checkpoint.Key, error) {
	held, err := Held(dir)
	switch {
	case errors.Is(err, os.ErrNotExist) && key.Name == "":
		return key, errors.New("archive: a new folder needs a key of the log to be kept under")
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return key, err
		}
		return key, (&log{dir: dir}).write(keyFile, []byte(key.String()+"\n"))
	case err != nil:
		return key, err
	case key.Name != "" && !key.Equal(held):
		return key, errors.New("archive: the folder is kept under another key")
	}
	return held, nil
}

// fetch writes the tiles and bundles that a folder lacks which has the tree of size have.
func (l *log) fetch(ctx context.Context, have int64, from Source) error {
	for t := range checkpoint.Tiles(have, l.tree.Size) {
		data, err := from.Tile(ctx, t)
		if errors.Is(err, ErrAbsent) && t.Level == checkpoint.Entries && t.Width == checkpoint.Width {
			continue // pruned, or else the verification misses it
		}
		if err != nil {
			return fmt.Errorf("archive: fetch %s: %w", t.Path(), err)
		}
		if err := l.write(t.Path(), data); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of the folder whole, or not at all.
func (l *log) write(name string, data []byte) (err error) {
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that counts is there already
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
