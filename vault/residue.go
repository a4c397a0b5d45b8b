package vault

import (
	"context"
	"time"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// stampRemoved is when it was measured that nothing of what an erasure removed is in the store's files any more. It is no
// state: the erasure is at its end without it, because the keys are gone.
const stampRemoved = "removed"

// removals are the erasures whose rows and files are removed, and of which the engine may still hold something. What has
// to be known of each is kept in memory, for a mark means nothing to a store that is opened anew. The sweeper owns it.
type removals struct {
	of map[ErasureID]*removal
}

// removal is what became of one.
type removal struct {
	erased time.Time
	marked bool
	mark   store.Mark // everything was removed at or before it
}

// sweepRemovals looks which removals have come to their end, by what the engine measured last, and writes that down. It
// measures nothing itself: that reads the whole store, and is done once a day for all of them together.
func (s *Service) sweepRemovals(ctx context.Context) error {
	engine, measures := s.Store.(store.Residual)
	if !measures {
		return nil
	}
	ids, err := s.pending(ctx, kindRemoval)
	if err != nil {
		return err
	}
	was := s.removals.of
	s.removals.of = make(map[ErasureID]*removal, len(ids))
	for _, id := range ids {
		if r := was[id]; r != nil {
			s.removals.of[id] = r
			continue
		}
		row, err := s.erasureRow(ctx, id)
		if err != nil {
			return err
		}
		s.removals.of[id] = &removal{erased: row.At[string(api.ErasureErased)].time()}
	}
	if err := s.markRemovals(ctx, engine); err != nil {
		return err
	}
	found, measured := engine.Residue()
	for id, r := range s.removals.of {
		if !measured || !r.marked || found.Clean < r.mark {
			continue
		}
		if err := s.finishRemoval(ctx, id); err != nil {
			return err
		}
		delete(s.removals.of, id)
	}
	oldest := time.Duration(0)
	for _, r := range s.removals.of {
		oldest = max(oldest, s.Clock().Sub(r.erased))
	}
	s.Observer.Removals(len(s.removals.of), oldest)
	return nil
}

// markRemovals gives a mark to the removals that have none. One waits while a blob of the person has a row of its own: of an upload
// that was cut, which goes when the row has lapsed, or of a document that the storage keeps.
func (s *Service) markRemovals(ctx context.Context, engine store.Residual) error {
	fresh := map[ErasureID]SubjectID{}
	for id, r := range s.removals.of {
		if r.marked {
			continue
		}
		row, err := s.erasureRow(ctx, id)
		if err != nil {
			return err
		}
		fresh[id] = row.Subject
	}
	if len(fresh) == 0 {
		return nil
	}
	uploading, err := s.uploading(ctx)
	if err != nil {
		return err
	}
	mark, err := engine.Mark() // after all that was read above
	if err != nil {
		return err
	}
	for id, who := range fresh {
		if uploading[who] || uploading[SubjectID{}] {
			continue
		}
		r := s.removals.of[id]
		r.marked, r.mark = true, mark
	}
	return nil
}

// uploading are the people of whom an upload is under way, or was and has left something, or something is kept. What nobody is known
// of may be anybody's: an upload of an earlier version, or a blob that was lost.
func (s *Service) uploading(ctx context.Context) (people map[SubjectID]bool, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		people = map[SubjectID]bool{}
		return scanAll(r, s.rows.key(kindUpload), func(p store.Pair) error {
			row, err := decodeRow[uploadRow](p.Value)
			if err == nil {
				people[row.Subject] = true
			}
			return err
		})
	})
	return people, err
}

// finishRemoval writes down that nothing is left.
func (s *Service) finishRemoval(ctx context.Context, id ErasureID) error {
	row, err := s.erasureRow(ctx, id)
	if err != nil {
		return err
	}
	var d draft
	d.delete(s.rows.removal(id))
	d.set(s.rows.uncertified(id), nil)
	return s.stampErasure(ctx, id, row, row.State, stampRemoved, &d)
}
