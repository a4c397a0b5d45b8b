package move

import (
	"context"

	"github.com/sandyq/sandyq/vault/store"
)

// Recast is for a move in which the target holds some rows in another form than the source, such as sealed under other keys. What both
// forms say is the same, and that is what the sides are compared and tallied by. It is used by one goroutine. The reader shows the state of
// the source that the rows are of.
type Recast interface {
	// Anew is called before everything is copied or verified: nothing that was learned of either side before counts any more.
	Anew()
	// Make returns what the target is to hold of rows of the source.
	Make(ctx context.Context, source store.Reader, rows []store.Pair) (values [][]byte, err error)
	// Says returns what rows of one side say: the same bytes for the two forms of a row, and never nil. What a row of the target says that is
	// none of the forms, no row of the source says.
	Says(ctx context.Context, source store.Reader, target bool, rows []store.Pair) (said [][]byte, err error)
}

// anew forgets what was verified.
func (m *Rows) anew() {
	m.from, m.to = nil, nil
	if m.Recast != nil {
		m.Recast.Anew()
	}
}

// agreed fills in what the rows say on both sides.
func (m *Rows) agreed(ctx context.Context, source store.Reader, rows []row) error {
	if m.Recast == nil {
		for i := range rows {
			rows[i].says, rows[i].said = rows[i].is, rows[i].was
		}
		return nil
	}
	of := func(target bool, value func(*row) []byte, set func(*row, []byte)) error {
		pairs, at := pairsOf(rows, value)
		said, err := m.Recast.Says(ctx, source, target, pairs)
		if err != nil {
			return err
		}
		for i, n := range at {
			set(&rows[n], said[i])
		}
		return nil
	}
	if err := of(false, func(r *row) []byte { return r.is }, func(r *row, b []byte) { r.says = b }); err != nil {
		return err
	}
	return of(true, func(r *row) []byte { return r.was }, func(r *row, b []byte) { r.said = b })
}

// pairsOf are the rows that have a value, and where each stands among the rows.
func pairsOf(rows []row, value func(*row) []byte) (pairs []store.Pair, at []int) {
	for i := range rows {
		if v := value(&rows[i]); v != nil {
			pairs, at = append(pairs, store.Pair{Key: rows[i].key, Value: v}), append(at, i)
		}
	}
	return pairs, at
}

// make has the target hold the rows, as far as it does not.
func (m *Rows) make(ctx context.Context, source store.Reader, w *writing, rows []row) error {
	if err := m.agreed(ctx, source, rows); err != nil {
		return err
	}
	var lacking []row
	for _, one := range rows {
		switch {
		case one.agrees():
		case m.Recast == nil || one.is == nil:
			if err := w.make(ctx, one.key, one.is, one.was); err != nil {
				return err
			}
		default:
			lacking = append(lacking, one)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	pairs, _ := pairsOf(lacking, func(r *row) []byte { return r.is })
	values, err := m.Recast.Make(ctx, source, pairs)
	if err != nil {
		return err
	}
	for i, one := range lacking {
		if err := w.make(ctx, one.key, values[i], one.was); err != nil {
			return err
		}
	}
	return nil
}
