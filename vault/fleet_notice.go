package vault

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// noticeID names a notice.
type noticeID [16]byte

// noticeRow is what one node tells the others of a person: keys to forget, and whether to cut what is streamed.
type noticeRow struct {
	Subject SubjectID `cbor:"1,keyasint"`
	Keys    []kms.ID  `cbor:"2,keyasint,omitempty"`
	Streams bool      `cbor:"3,keyasint,omitempty"`
}

// obey makes a notice felt in this process.
func (s *Service) obey(n *noticeRow) {
	s.keyring.Purge(n.Keys...)
	if n.Streams {
		s.streams.cut(n.Subject)
		s.uploads.cut(n.Subject)
	}
}

// forgetAll makes felt whatever this node may not have been told of.
func (s *Service) forgetAll() {
	s.fleet.lapses.Add(1)
	s.keyring.PurgeAll()
	s.streams.cutAll()
	s.uploads.cutAll()
}

// tell makes notices felt here and on every other node, and returns when they are: each has carried them out, or has lapsed. An error
// leaves it open which of the others have heard.
func (s *Service) tell(ctx context.Context, notices ...*noticeRow) error {
	for _, n := range notices {
		s.obey(n)
	}
	f := &s.fleet
	if f.alone || len(notices) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(store.With(ctx, store.Vital), 3*f.term)
	defer cancel()
	told := make([]noticeID, len(notices))
	for i := range told {
		told[i] = noticeID(id.New())
	}
	err := s.Store.Update(ctx, func(w store.Writer) error {
		for i, n := range notices {
			if err := w.Set(s.rows.fleetNotice(told[i]), encodeRow(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell the other nodes: %w", err)
	}
	timer := time.NewTicker(f.term / 240)
	defer timer.Stop()
	for {
		at := s.Clock()
		now, err := f.look(ctx)
		if err != nil {
			return fmt.Errorf("hear from the other nodes: %w", err)
		}
		told = slices.DeleteFunc(told, func(n noticeID) bool { return f.allHeard(now, n, at) })
		if len(told) == 0 {
			return nil
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("hear from the other nodes: %w", context.Cause(ctx))
		}
	}
}

// allHeard reports whether every other node has carried a notice out, or has lapsed: at is before they were looked at. The leader
// removes a notice of which that is so. Who has joined since it was written knows of nothing from before.
func (f *fleet) allHeard(now *survey, notice noticeID, at time.Time) bool {
	if now.notices[notice] == nil {
		return true
	}
	for id, node := range now.nodes {
		if id != f.id && !slices.Contains(node.Heard, notice) && !f.lapsed(id, now.raw[id], at) {
			return false
		}
	}
	return true
}

// listen carries out the notices that are new to this node, and reports whether there were any. It sees as well that the rules or
// the title have changed.
func (f *fleet) listen(now *survey, at time.Time) (news bool) {
	s := f.service
	for id, n := range now.notices {
		if _, ok := f.heard[id]; !ok {
			s.obey(n)
			f.heard[id] = at
			news = true
		}
	}
	maps.DeleteFunc(f.heard, func(id noticeID, _ time.Time) bool { return now.notices[id] == nil })
	if rules := s.rulebook.current.Load(); rules != nil && !bytes.Equal(now.rules, rules.generation) {
		select { // not here: it looks at every stream, and the next beat waits for this
		case s.rulebook.stale <- struct{}{}:
		default:
		}
	}
	if news || !bytes.Equal(now.title, f.title) {
		f.title = now.title
		s.wake()
	}
	return news
}
