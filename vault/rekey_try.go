package vault

import (
	"context"
	"errors"

	"github.com/sandyq/sandyq/vault/store"
)

// ErrOvertaken: another try of the same move was begun, or gave it up, since this one began. It goes on with it, and this one writes nothing more.
var ErrOvertaken = errors.New("another try of this move was begun since, and has taken it over: this one writes nothing more")

// Fence fails when the target is not for this try to write any more: with ErrTaken when it is a vault by now, or else with ErrOvertaken. It is
// a move.Rows' Fence.
func (m *Rekeying) Fence(to store.Reader) error {
	if err := Untaken(m.Tenant)(to); err != nil {
		return err
	}
	mark, err := getRow[rekeyRow](to, layout{m.Tenant}.meta(metaRekey))
	if err != nil {
		return err
	}
	return m.owns(mark)
}

// owns fails unless a mark is this try's.
func (m *Rekeying) owns(mark *rekeyRow) error {
	if mark == nil || m.try.IsZero() || mark.Try != m.try {
		return ErrOvertaken
	}
	return nil
}

// ahead fails as Fence does, of what the target is at this moment.
func (m *Rekeying) ahead(ctx context.Context) error { return m.To.Store.View(ctx, m.Fence) }

// tryStore asks a fence in every Update, of what that Update sees.
type tryStore struct {
	store.Store
	fence func(store.Reader) error
}

// Update implements store.Store.
func (f tryStore) Update(ctx context.Context, write func(store.Writer) error) error {
	return f.Store.Update(ctx, func(w store.Writer) error {
		if err := f.fence(w); err != nil {
			return err
		}
		return write(w)
	})
}

// target is the target for as long as this try goes on, and untaken for as long as it is no vault.
func (m *Rekeying) target() store.Store  { return tryStore{m.To.Store, m.Fence} }
func (m *Rekeying) untaken() store.Store { return tryStore{m.To.Store, Untaken(m.Tenant)} }

// overtake makes the mark of a store, if there is one, this try's: whichever was at work before writes nothing more. It fails with ErrOtherMove when the
// mark is of another move than this one.
func (m *Rekeying) overtake(ctx context.Context, s store.Store, of *rekeyRow) error {
	return m.setMark(ctx, s, func(was *rekeyRow) (*rekeyRow, error) {
		switch {
		case was == nil:
			return nil, nil
		case !was.is(of):
			return nil, ErrOtherMove
		}
		was.Try = m.try
		return was, nil
	})
}
