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

// tell makes a notice felt here and on every other node, and returns when it is: each has carried it out, or has lapsed. It is
// told even if the caller's context has ended. An error leaves it open which of the others have heard.
func (s *Service) tell(ctx context.Context, n *noticeRow) error {
	s.obey(n)
	f := &s.fleet
	if f.alone {
		return nil
	}
	ctx, cancel := context.WithTimeout(store.With(context.WithoutCancel(ctx), store.Vital), 3*f.term)
	defer cancel()
	notice := noticeID(id.New())
	err := s.Store.Update(ctx, func(w store.Writer) error { return w.Set(s.rows.fleetNotice(notice), encodeRow(n)) })
	if err != nil {
		return fmt.Errorf("tell the other nodes: %w", err)
	}
	timer := time.NewTicker(f.term / 240)
	defer timer.Stop()
	for {
		now, err := f.look(ctx)
		if err != nil {
			return fmt.Errorf("hear from the other nodes: %w", err)
		}
		if f.allHeard(now, notice, s.Clock()) {
			return nil
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("hear from the other nodes: %w", context.Cause(ctx))
		}
	}
}

// allHeard reports whether every other node has carried a notice out, or has lapsed. Who has joined since it was written knows of
// nothing from before.
func (f *fleet) allHeard(now *survey, notice noticeID, at time.Time) bool {
	for id, node := range now.nodes {
		if id != f.id && !slices.Contains(node.Heard, notice) && !f.lapsed(id, now.raw[id], at) {
			return false
		}
	}
	return true
}

// listen carries out the notices that are new to this node, and reports whether there were any. It sees as well that the rules or
// the title have changed.
func (f *fleet) listen(ctx context.Context, now *survey, at time.Time) (news bool) {
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
		if err := s.rulebook.load(ctx); err != nil {
			s.complain(ctx, "read the rules anew", err)
		}
	}
	if news || !bytes.Equal(now.title, f.title) {
		f.title = now.title
		s.wake()
	}
	return news
}
