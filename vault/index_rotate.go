package vault

import (
	"context"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// Index shows in which epoch the search index is, and how far a rotation has come.
func (s *Service) Index(ctx context.Context, call Call) (*api.Index, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Index, error) {
		if err := s.consult(ctx, call, access.ShowIndex); err != nil {
			return nil, err
		}
		return s.indexWire(ctx)
	})
}

// RotateIndex begins a rotation of the search index. It goes on by itself: every entry is carried over to a new epoch, and the
// key of the old one is destroyed, so that entries in older backups become noise. While one runs no other begins.
func (s *Service) RotateIndex(ctx context.Context, call Call) (*api.Index, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Index, error) { return s.rotateIndex(ctx, call) })
}

func (s *Service) rotateIndex(ctx context.Context, call Call) (*api.Index, error) {
	r := access.Request{Action: access.RotateIndex}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := s.index.losers.wait(ctx); err != nil {
		return nil, err
	}
	err := s.once(ctx, call, access.RotateIndex, func(o *once) error {
		if o.earlier(0) != nil {
			return nil
		}
		_, err := s.act(ctx, call, func() (deed, error) {
			d, err := s.indexRotation(ctx, r)
			if err == nil && d.effect != nil {
				o.keep(d.effect, 0, done{})
			}
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	s.index.wake()
	return s.indexWire(ctx)
}

// indexRotation is the start of a rotation; of none, without an effect, while one runs.
func (s *Service) indexRotation(ctx context.Context, r access.Request) (d deed, err error) {
	d = deed{request: r}
	s.index.state.Store(nil)
	e, err := s.index.epochs(ctx)
	if err != nil {
		return d, err
	}
	if e.row.Phase != indexWhole {
		return d, nil
	}
	d.entry.Objects = []string{epochName(e.row.Current), epochName(e.row.Current + 1)}
	d.effect, err = s.index.begin(ctx, e)
	return d, err
}

func (s *Service) indexWire(ctx context.Context) (*api.Index, error) {
	var row indexRow
	var c indexCursor
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if row, _, err = s.indexRow(r); err == nil {
			c, _, err = s.indexCursor(r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	wire := &api.Index{
		Epoch: int(row.Current), Since: row.Since.time(), NextRotation: s.index.next(row), State: api.IndexReady,
		EntriesMoved: c.Moved, EntriesLeft: row.Left,
	}
	switch row.Phase {
	case indexMoving, indexMoved:
		wire.State = api.IndexRotating
	case indexRebuilding:
		wire.State = api.IndexRebuilding
	}
	return wire, nil
}
