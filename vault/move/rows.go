package move

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sandyq/sandyq/vault/store"
)

// Rows is a move of rows. It is for one goroutine.
type Rows struct {
	From, To store.Store
	Under    [][]byte              // the prefixes of what is moved, none of them a prefix of another
	Own      func(key []byte) bool // each store has this row for itself: it is neither moved nor looked at
	Kind     func(key []byte) byte
	Journal  *Journal                // of From; nil while nobody writes there, or others do
	Recast   Recast                  // nil: the target holds the bytes that the source holds
	Progress func(rows, bytes int64) // is told of what was read of From; may be nil
	// Fence fails when To is not to be written any more. It is asked in each Update, of what that Update sees; nil when nobody else writes there.
	Fence func(to store.Reader) error

	from, to Tallies // of both sides, kept since Verify; nil before
}

// Changes are what a step came to.
type Changes struct {
	Rows, Bytes      int64 // read from the source
	Written, Deleted int64 // rows of the target
}

// Copy makes the target what the source is at one moment after it was called.
func (m *Rows) Copy(ctx context.Context) (c Changes, err error) {
	m.anew()
	err = m.view(ctx, func(r store.Reader, _ []string) error {
		return m.To.View(ctx, func(t store.Reader) error {
			w := writing{to: m.To, fence: m.Fence, changes: &c}
			for _, prefix := range m.Under {
				err := m.compare(ctx, r, t, prefix, func(rows []row) error {
					for _, one := range rows {
						m.count(&c, one.key, one.is)
					}
					return m.make(ctx, r, &w, rows)
				})
				if err != nil {
					return err
				}
			}
			return w.flush(ctx)
		})
	})
	if err != nil {
		return c, fmt.Errorf("move: copy the rows: %w", err)
	}
	return c, nil
}

// Verify reads both sides and holds every row of one state of the source against the target's. Before that it carries over what
// the journal has. ErrDiffers when they are not the same.
func (m *Rows) Verify(ctx context.Context) (c Changes, err error) {
	m.anew()
	from, to := Tallies{}, Tallies{}
	differing := 0
	err = m.view(ctx, func(r store.Reader, written []string) error {
		if err := m.carry(ctx, r, written, &c); err != nil {
			return err
		}
		return m.To.View(ctx, func(t store.Reader) error {
			for _, prefix := range m.Under {
				err := m.compare(ctx, r, t, prefix, func(rows []row) error {
					if err := m.agreed(ctx, r, rows); err != nil {
						return err
					}
					for _, one := range rows {
						m.count(&c, one.key, one.is)
						from.change(m.Kind(one.key), one.key, nil, one.says)
						to.change(m.Kind(one.key), one.key, nil, one.said)
						if !one.agrees() {
							differing++
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return c, fmt.Errorf("move: verify the rows: %w", err)
	case differing > 0:
		return c, fmt.Errorf("%w: %d rows are not the same", ErrDiffers, differing)
	}
	m.from, m.to = from, to
	return c, nil
}

// CatchUp carries over what was written since the last step, and reads it again. After an error nothing counts as verified.
func (m *Rows) CatchUp(ctx context.Context) (c Changes, err error) {
	err = m.view(ctx, func(r store.Reader, written []string) error { return m.carry(ctx, r, written, &c) })
	if err != nil {
		m.from, m.to = nil, nil // some of it may be there and not counted
		return c, fmt.Errorf("move: catch up with the rows: %w", err)
	}
	return c, nil
}

// Tallies are those of the source and of the target, since Verify. Both are of what was read there.
func (m *Rows) Tallies() (from, to Tallies) { return maps.Clone(m.from), maps.Clone(m.to) }

// Equal reports ErrDiffers unless both sides were verified, and are the same for all that was read of them.
func (m *Rows) Equal() error {
	if m.from == nil || !maps.Equal(m.from, m.to) {
		return ErrDiffers
	}
	return nil
}

// view runs f on a state of the source, with the keys that were written before.
func (m *Rows) view(ctx context.Context, f func(r store.Reader, written []string) error) error {
	if m.Journal != nil {
		return m.Journal.view(ctx, f)
	}
	return m.From.View(ctx, func(r store.Reader) error { return f(r, nil) })
}

func (m *Rows) count(c *Changes, key, value []byte) {
	if value == nil {
		return
	}
	n := int64(len(key) + len(value))
	c.Rows, c.Bytes = c.Rows+1, c.Bytes+n
	if m.Progress != nil {
		m.Progress(1, n)
	}
}

// row is a row on both sides: its value at the source and at the target, nil for none.
type row struct {
	key, is, was []byte
	says, said   []byte // what the two have to agree in: see agreed
}

// agrees reports whether both sides have the row and say the same, or neither has it.
func (r row) agrees() bool { return (r.is == nil) == (r.was == nil) && same(r.says, r.said) }

// compare calls f for every key under the prefix that the source or the target has, some at a time.
func (m *Rows) compare(ctx context.Context, source, target store.Reader, prefix []byte, f func([]row) error) error {
	from, to := walk{r: source, prefix: prefix}, walk{r: target, prefix: prefix}
	var rows []row
	for {
		if len(rows) == page {
			if err := f(rows); err != nil {
				return err
			}
			rows = rows[:0]
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := from.next()
		if err != nil {
			return err
		}
		b, err := to.next()
		if err != nil {
			return err
		}
		var key, is, was []byte
		switch {
		case a == nil && b == nil:
			return f(rows)
		case b == nil || a != nil && bytes.Compare(a.Key, b.Key) < 0:
			key, is = a.Key, a.Value
			from.taken()
		case a == nil || bytes.Compare(a.Key, b.Key) > 0:
			key, was = b.Key, b.Value
			to.taken()
		default:
			key, is, was = a.Key, a.Value, b.Value
			from.taken()
			to.taken()
		}
		if !m.Own(key) {
			rows = append(rows, row{key: key, is: is, was: was})
		}
	}
}

// walk goes through the rows under a prefix, page by page.
type walk struct {
	r      store.Reader
	prefix []byte
	pairs  []store.Pair
	after  []byte // of the last row that was read; nil before the first
	ended  bool
}

// next is the row at which the walk stands; nil at the end.
func (w *walk) next() (*store.Pair, error) {
	if len(w.pairs) == 0 && !w.ended {
		var err error
		if w.pairs, err = w.r.Scan(w.prefix, w.after, page); err != nil {
			return nil, err
		}
		w.ended = len(w.pairs) < page
		if n := len(w.pairs); n > 0 {
			w.after = w.pairs[n-1].Key
		}
	}
	if len(w.pairs) == 0 {
		return nil, nil
	}
	return &w.pairs[0], nil
}

func (w *walk) taken() { w.pairs = w.pairs[1:] }

// carry writes the rows of some keys as they are in a state of the source, and sees that the target has them.
func (m *Rows) carry(ctx context.Context, r store.Reader, keys []string, c *Changes) error {
	for some := range slices.Chunk(m.moved(keys), page) {
		is, err := r.Get(some...)
		if err != nil {
			return err
		}
		err = m.To.View(ctx, func(t store.Reader) error {
			was, err := t.Get(some...)
			if err != nil {
				return err
			}
			rows := make([]row, len(some))
			for i, key := range some {
				m.count(c, key, is[i])
				rows[i] = row{key: key, is: is[i], was: was[i]}
			}
			w := writing{to: m.To, fence: m.Fence, changes: c}
			if err := m.make(ctx, r, &w, rows); err != nil {
				return err
			}
			if err := w.flush(ctx); err != nil {
				return err
			}
			return m.check(ctx, r, rows)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// check reads what was written, and brings the tallies up to date with it. The rows were made.
func (m *Rows) check(ctx context.Context, r store.Reader, rows []row) error {
	keys := make([][]byte, len(rows))
	for i, one := range rows {
		keys[i] = one.key
	}
	return m.To.View(ctx, func(t store.Reader) error {
		found, err := t.Get(keys...)
		if err != nil {
			return err
		}
		now := make([]row, len(rows))
		for i, one := range rows {
			now[i] = row{key: one.key, is: one.is, was: found[i]}
		}
		if err := m.agreed(ctx, r, now); err != nil {
			return err
		}
		for i, one := range now {
			if !one.agrees() {
				return ErrDiffers
			}
			if m.from != nil {
				m.from.change(m.Kind(one.key), one.key, rows[i].said, one.says)
				m.to.change(m.Kind(one.key), one.key, rows[i].said, one.said)
			}
		}
		return nil
	})
}

// moved are those of the keys that are moved.
func (m *Rows) moved(keys []string) (moved [][]byte) {
	for _, k := range keys {
		key := []byte(k)
		under := slices.ContainsFunc(m.Under, func(prefix []byte) bool { return bytes.HasPrefix(key, prefix) })
		if under && !m.Own(key) {
			moved = append(moved, key)
		}
	}
	return moved
}

// same reports whether two values are one; nil is no row, which an empty value is not.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// writing gathers what is to be written into Updates of a good size.
type writing struct {
	to      store.Store
	fence   func(store.Reader) error
	changes *Changes
	pairs   []store.Pair // a nil value: to be deleted
	bytes   int
}

// make has a row be what it is to be, when it is not.
func (w *writing) make(ctx context.Context, key, is, was []byte) error {
	if same(is, was) {
		return nil
	}
	w.pairs = append(w.pairs, store.Pair{Key: bytes.Clone(key), Value: bytes.Clone(is)})
	w.bytes += len(key) + len(is)
	if w.bytes < limit && len(w.pairs) < 4*page {
		return nil
	}
	return w.flush(ctx)
}

func (w *writing) flush(ctx context.Context) error {
	if len(w.pairs) == 0 {
		return nil
	}
	err := w.to.Update(ctx, func(out store.Writer) error {
		if w.fence != nil {
			if err := w.fence(out); err != nil {
				return err
			}
		}
		for _, p := range w.pairs {
			if p.Value == nil {
				if err := out.Delete(p.Key); err != nil {
					return err
				}
				continue
			}
			if err := out.Set(p.Key, p.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range w.pairs {
		if p.Value == nil {
			w.changes.Deleted++
		} else {
			w.changes.Written++
		}
	}
	w.pairs, w.bytes = nil, 0
	return nil
}
