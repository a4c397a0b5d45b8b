package vault

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/crypto/blind"
	"github.com/sandyq/sandyq/vault/store"
)

// How many entries one Update takes: each that moves is three writes. One that is rebuilt costs the opening of a key.
const (
	moveAtOnce    = 2000
	rebuildAtOnce = 200
)

// indexCursor is how far a pass over the indexed rows has come. It is written in the Update that brought it there, so all
// before it is in the current epoch, for good: nobody enters anything in another.
type indexCursor struct {
	After  []byte `cbor:"1,keyasint,omitempty"` // the last row that was dealt with
	Moved  int    `cbor:"2,keyasint,omitempty"` // in all passes
	InPass int    `cbor:"3,keyasint,omitempty"` // in this one
	Left   int    `cbor:"4,keyasint,omitempty"` // of epochs whose key is gone; in this one
}

func (s *Service) indexCursor(r store.Reader) (c indexCursor, raw []byte, err error) {
	rows, err := r.Get(s.rows.meta(metaCursor))
	if err != nil || rows[0] == nil {
		return c, nil, err
	}
	read, err := decodeRow[indexCursor](rows[0])
	if err != nil {
		return c, nil, err
	}
	return *read, bytes.Clone(rows[0]), nil
}

func (x *index) cursor(ctx context.Context) (c indexCursor, err error) {
	err = x.service.Store.View(ctx, func(r store.Reader) error {
		c, _, err = x.service.indexCursor(r)
		return err
	})
	return c, err
}

// errForeign tells of an entry of an epoch whose key is gone.
var errForeign = errors.New("an index entry is of an epoch whose key is gone")

// pass carries the next entries over. What cannot be re-mapped is rebuilt first, as far as that is possible.
func (x *index) pass(ctx context.Context, e *epochs) error {
	atOnce := moveAtOnce
	if e.row.Phase == indexMoving {
		err := x.move(ctx, e, atOnce, false)
		if !errors.Is(err, errForeign) {
			return err
		}
	}
	atOnce = rebuildAtOnce
	if err := x.rebuild(ctx, e, atOnce); err != nil {
		return err
	}
	return x.move(ctx, e, atOnce, true)
}

// move re-maps the next entries, in one Update that also reads them: nothing about them is known before, so nobody's write can
// come between. With leave, entries of an epoch whose key is gone stay and are counted; else they are errForeign.
func (x *index) move(ctx context.Context, e *epochs, atOnce int, leave bool) error {
	s := x.service
	prefix := s.rows.key(kindIndexed)
	return s.Store.Update(ctx, func(w store.Writer) error {
		if err := x.unchanged(w, e); err != nil {
			return err
		}
		c, _, err := s.indexCursor(w)
		if err != nil {
			return err
		}
		pairs, err := w.Scan(prefix, c.After, atOnce)
		if err != nil {
			return err
		}
		writes := make([]store.Pair, 0, 3*len(pairs))
		for _, p := range pairs {
			switch old := blind.Entry(p.Value[1:]); {
			case old.Epoch() == e.row.Current:
			case e.leaving != nil && old.Epoch() == e.row.Leaving:
				if writes, err = x.remap(writes, e, p, old); err != nil {
					return err
				}
				c.Moved, c.InPass = c.Moved+1, c.InPass+1
			case leave:
				c.Left++
			default:
				return errForeign
			}
		}
		if len(pairs) > 0 {
			c.After = pairs[len(pairs)-1].Key
		}
		// In the order of keys, in which stores insert fastest.
		slices.SortFunc(writes, func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) })
		if err := (&draft{writes: writes}).write(w); err != nil {
			return err
		}
		return x.advance(w, e, c, len(pairs) < atOnce)
	})
}

// advance writes how far the pass has come. A pass that moved something is followed by another; one that did not has shown
// that nothing is left to move.
func (x *index) advance(w store.Writer, e *epochs, c indexCursor, ended bool) error {
	switch {
	case ended && c.InPass > 0:
		c = indexCursor{Moved: c.Moved}
	case ended:
		next := e.row
		next.Phase, next.Left = indexMoved, c.Left
		if err := w.Set(x.service.rows.meta(metaIndex), next.encode()); err != nil {
			return err
		}
	}
	return w.Set(x.service.rows.meta(metaCursor), encodeRow(c))
}

// unchanged fails with errEpoch when the row is not what it was.
func (x *index) unchanged(r store.Reader, e *epochs) error {
	rows, err := r.Get(x.service.rows.meta(metaIndex))
	if err == nil && !bytes.Equal(rows[0], e.raw) {
		err = errEpoch
	}
	return err
}

// remap adds the writes that carry one entry over to the current epoch: its row and the one that leads to it.
func (x *index) remap(writes []store.Pair, e *epochs, indexed store.Pair, old blind.Entry) ([]store.Pair, error) {
	entry, err := e.current.Remap(e.leaving, old)
	if err != nil {
		return nil, err
	}
	l := x.service.rows
	id, field, slot := l.indexedParts(indexed.Key)
	unique := indexed.Value[0] == 1
	was, is, value := l.lookup(field, old, id, slot), l.lookup(field, entry, id, slot), []byte{}
	if unique {
		was, is, value = l.unique(field, old), l.unique(field, entry), owner(id, slot)
	}
	return append(writes,
		store.Pair{Key: was}, store.Pair{Key: is, Value: value},
		store.Pair{Key: bytes.Clone(indexed.Key), Value: encodeIndexed(entry, unique)}), nil
}
