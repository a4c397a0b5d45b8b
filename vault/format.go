package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/sandyq/sandyq/vault/store"
)

// latestFormat is the latest form of rows that this version knows. A version that writes rows which older ones cannot read, or a
// new kind of row that they would have to heed, has one more, and writes them only where the store's form is that far
// (Service.form).
const latestFormat = 1

// metaFormat is the row that says which form the store's rows may have: a number, big-endian in four bytes; without it, 1.
//
// It goes up by the leader's hand, when every node at work knows the next form and has for formTerms, so that old and new versions work
// side by side during an upgrade, and the last old node may come back for a while; and it never goes down. Whoever does not know the
// store's form does not open it.
const metaFormat = "format"

// formTerms is for how many terms of the nodes every one of them has known the next form before the store is taken on: ten minutes.
const formTerms = 100

// unanimity is since when a leader has seen that every node knows a form. It has not seen who came and went while another led.
type unanimity struct {
	form  uint32
	fence uint64 // by which it leads
	since time.Time
}

// errNewer refuses a store that a newer version has taken further.
var errNewer = errors.New("vault: a newer version has worked on this store, and this one cannot read what it wrote: use that version")

func formatOf(raw []byte) (uint32, error) {
	switch len(raw) {
	case 0:
		return 1, nil
	case 4:
		return binary.BigEndian.Uint32(raw), nil
	}
	return 0, errors.New("the row that says which form rows have is damaged")
}

// atForm refuses a store whose form this version does not know, and notes the form.
func (s *Service) atForm(r store.Reader) error {
	rows, err := r.Get(s.rows.meta(metaFormat))
	if err != nil {
		return err
	}
	form, err := formatOf(rows[0])
	switch {
	case err != nil:
		return err
	case form > s.latest:
		return errNewer
	}
	s.form.Store(form)
	return nil
}

// raise takes the store to the form that every node knows, and has for a while. It is the leader's to do. A node that joins reads the
// form when its row is there, or before: then it is counted here.
func (s *Service) raise(ctx context.Context) error {
	if s.form.Load() >= s.latest {
		return nil
	}
	now, fence := s.Clock(), s.fleet.fence.Load()
	err := s.Store.Update(ctx, func(w store.Writer) error {
		known, err := s.fleet.knows(w)
		if err != nil {
			return err
		}
		if known != s.known.form || fence != s.known.fence {
			s.known = unanimity{known, fence, now}
		}
		if err := s.atForm(w); err != nil || s.form.Load() >= known || now.Sub(s.known.since) < formTerms*s.fleet.term {
			return err
		}
		return w.Set(s.rows.meta(metaFormat), binary.BigEndian.AppendUint32(nil, known))
	})
	if err != nil {
		return err
	}
	return s.Store.View(ctx, s.atForm)
}
