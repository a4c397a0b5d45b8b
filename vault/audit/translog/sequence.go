package translog

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// perRound is how many entries are taken into the tree in one Update, or a little more: as many as an Update has room for,
// with all their places.
const perRound = 2500

// maxMoved bounds how often a pass begins a round anew because another node was faster.
const maxMoved = 100

// errMoved reports that the log is no longer as it was read.
var errMoved = errors.New("translog: another node changed the log meanwhile")

// sequence takes all that is staged into the tree, beginning at l.oldest, and begins the log when there is none.
func (l *Log) sequence(ctx context.Context) error {
	for moved := 0; ; {
		more, err := l.round(ctx)
		if err != nil {
			l.known = nil
		}
		switch {
		case errors.Is(err, errMoved) && moved < maxMoved:
			moved++
		case err != nil:
			return err
		case !more:
			return nil
		}
	}
}

// round takes some staging rows into the tree, in one Update, and reports whether there may be more.
func (l *Log) round(ctx context.Context) (more bool, err error) {
	var f *frontier
	var taken [][]byte
	begun := false
	err = l.Store.View(ctx, func(r store.Reader) error {
		state, row, err := l.state(r)
		if begun = state != nil; err != nil || !begun {
			return err
		}
		if f = l.known; f == nil || !bytes.Equal(f.row, row) {
			if f, err = l.load(r, state, row); err != nil {
				return err
			}
		}
		l.known = nil // it changes from here on, and holds again once that is durable
		taken, more, err = l.collect(r, f)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case !begun:
		return true, l.begin(ctx)
	case len(taken) == 0:
		l.known = f
		return false, nil
	}
	before := f.row
	f.state.Size = f.edge.Size
	if f.state.Root, err = f.edge.Root(); err != nil {
		return false, err
	}
	if f.row, err = encodeRow(&f.state); err != nil {
		return false, err
	}
	rows := l.rows(f)
	err = l.swap(ctx, before, f.row, func(w store.Writer) error {
		for _, key := range taken {
			if err := w.Delete(key); err != nil {
				return err
			}
		}
		for _, row := range rows {
			if err := w.Set(bytes.Clone(row.Key), bytes.Clone(row.Value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	f.gained, f.from = nil, f.edge.Size
	l.known = f
	return more, nil
}

// collect appends what is staged, up to perRound entries, and returns the keys of the rows it is from.
func (l *Log) collect(r store.Reader, f *frontier) (taken [][]byte, more bool, err error) {
	const page = 250
	after := l.StagedKey(l.oldest)
	for f.edge.Size-f.from < perRound {
		pairs, err := r.Scan(l.key(kindStaged), after, page)
		if err != nil {
			return nil, false, err
		}
		for _, p := range pairs {
			if f.edge.Size-f.from >= perRound {
				return taken, true, nil
			}
			leaves, err := parseLeaves(p.Value)
			if err != nil {
				return nil, false, err
			}
			for _, leaf := range leaves {
				if err := l.add(f, leaf); err != nil {
					return nil, false, err
				}
			}
			after = bytes.Clone(p.Key)
			taken = append(taken, after)
		}
		if len(pairs) < page {
			return taken, false, nil
		}
	}
	return taken, true, nil
}

// begin writes the state of an empty log under an origin of its own.
func (l *Log) begin(ctx context.Context) error {
	state := stateRow{Origin: l.newOrigin()}
	root, err := (&checkpoint.Edge{}).Root()
	if err != nil {
		return err
	}
	state.Root = root
	row, err := encodeRow(&state)
	if err != nil {
		return err
	}
	return l.swap(ctx, nil, row, nil)
}

// newOrigin draws an origin that no log had.
func (l *Log) newOrigin() string { return l.Origin + "/" + kms.NewID().String() }

// swap is an Update that expects the state row to be before (nil: absent), writes more, and then the state row. It fails
// with errMoved when the row is another.
func (l *Log) swap(ctx context.Context, before, row []byte, more func(store.Writer) error) error {
	err := l.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		values, err := w.Get(l.key(kindState))
		if err != nil {
			return err
		}
		if (values[0] == nil) != (before == nil) || !bytes.Equal(values[0], before) {
			return errMoved
		}
		if more != nil {
			if err := more(w); err != nil {
				return err
			}
		}
		return w.Set(l.key(kindState), slices.Clone(row))
	})
	if err == nil {
		l.durable = row
	}
	return err
}

// firstStaged is the first entry that waits; false when none does.
func (l *Log) firstStaged(r store.Reader) (audit.ID, bool, error) {
	pairs, err := r.Scan(l.key(kindStaged), l.StagedKey(l.oldest), 1)
	if err != nil || len(pairs) == 0 {
		return audit.ID{}, false, err
	}
	return audit.ID(pairs[0].Key[len(l.Prefix)+1:]), true, nil
}
