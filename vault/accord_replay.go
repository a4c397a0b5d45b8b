package vault

import (
	"context"
	"fmt"
	"slices"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// behind reports whether the store lacks something that the ledger lists after an entry: then it is older than the ledger. A
// crash leaves no such trace, because a person is unreadable before the ledger lists them.
func (a *accord) behind(ctx context.Context, after uint64) (behind bool, err error) {
	err = a.ledger.Scan(ctx, after, func(e ledger.Entry) error {
		if !e.Erases() || behind {
			return nil
		}
		row, err := a.erasure(ctx, e)
		behind = row == nil || row.State == api.ErasureRequested || row.State == api.ErasureCancelled
		return err
	})
	if err != nil {
		return false, fmt.Errorf("the erasure ledger: %w", err)
	}
	return behind, nil
}

// erasure reads the erasure that an entry lists; nil when the store does not know it.
func (a *accord) erasure(ctx context.Context, e ledger.Entry) (row *erasureRow, err error) {
	id, err := parseID(erasurePrefix, e.Ref)
	if err != nil {
		return nil, fmt.Errorf("entry %d of the erasure ledger: %w", e.Number, err)
	}
	err = a.service.Store.View(ctx, func(r store.Reader) error {
		row, err = getRow[erasureRow](r, a.service.rows.erasure(id))
		return err
	})
	return row, err
}

// carryOut goes through what the ledger lists after an entry: everybody is unreadable in the store, and then every key gone.
// What the keys sealed is left to the sweeper. The keys of abandoned epochs go last, and not while the vault is held back.
func (a *accord) carryOut(ctx context.Context, after uint64) error {
	var doomed []kms.ID
	var notices []*noticeRow // of those who were not unreadable for long
	var made []ledger.Entry
	var done []uint64
	flush := func() error {
		if len(doomed) == 0 {
			return nil
		}
		err := a.service.tell(ctx, notices...)
		if err == nil {
			err = a.service.keyring.Destroy(ctx, doomed...)
		}
		doomed, notices = doomed[:0], notices[:0]
		return err
	}
	err := a.ledger.Scan(ctx, after, func(e ledger.Entry) error {
		if e.Kind == ledger.Epoch {
			made = append(made, e)
			return nil
		}
		if err := a.service.enterListed(ctx, e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Number, err)
		}
		if e.Erases() && !a.service.fleet.alone {
			row, err := a.erasure(ctx, e)
			if err != nil {
				return err
			}
			if row != nil && row.State == api.ErasureErasing {
				notice := row.notice()
				notice.Keys = e.Keys
				notices = append(notices, notice)
			}
		}
		for _, k := range e.Keys {
			if doomed = append(doomed, k); len(doomed) == destroysAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		done = append(done, e.Number)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("carry out the erasure ledger: %w", err)
	}
	a.progress.add(done...)
	if done, err = a.endEpochs(ctx, made); err != nil {
		return fmt.Errorf("carry out the erasure ledger: %w", err)
	}
	a.progress.add(done...)
	return nil
}

// replay brings the rows of a copy up to the ledger, to the end of every erasure. The keys must be gone.
func (a *accord) replay(ctx context.Context, head ledger.Head, mine kms.Mark) error {
	s := a.service
	err := a.ledger.Scan(ctx, mine.Entries, func(e ledger.Entry) error {
		if err := s.enterListed(ctx, e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Number, err)
		}
		return s.seeGone(ctx, e.Destroys())
	})
	if err != nil {
		return fmt.Errorf("replay the erasure ledger: %w", err)
	}
	if err := s.sweepKeys(ctx); err != nil {
		return err
	}
	if err := s.sweepErased(ctx); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(w store.Writer) error {
		return w.Set(s.rows.meta(metaLedger), encodeRow(markRow{Entries: head.Entries, Head: head.Hash}))
	})
}

// listedReason is the reason of an erasure that a store learns of from the ledger.
const listedReason = "erasure_ledger"

// enterListed makes unreadable whom an entry of the ledger lists, if the store still knows them as readable: it was restored
// from a state before the erasure. The erasure then goes on like any other.
func (s *Service) enterListed(ctx context.Context, e ledger.Entry) error {
	if !e.Erases() {
		return nil
	}
	erasure, err := parseID(erasurePrefix, e.Ref)
	if err != nil {
		return err
	}
	subject, err := parseID(subjectPrefix, e.Subject)
	if err != nil {
		return err
	}
	id, who := ErasureID(erasure), SubjectID(subject)
	var d draft
	var was *person
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		was, err = s.load(r, who, "")
		return err
	})
	if err != nil || was == nil || was.row.state != stateActive || e.Kind == ledger.Slices && !was.row.holds(e) {
		return err // whoever was registered after this store was copied is not in it
	}
	d = s.lateChange(was, func(w store.Writer, inside *change) error { return s.enterListedInside(w, inside, id, e) }).draft
	err = s.log(&d, &audit.Entry{
		System: itself, Operation: "erasure.relisted", Subject: e.Subject, Objects: []string{e.Ref}, Decision: audit.Allow,
		Reason: listedReason,
	})
	if err != nil {
		return err
	}
	written, err := commit(ctx, s.Store, &d)
	if err == nil && !written[0] {
		err = errContended
	}
	return err
}

// enterListedInside is the step from which the person is unreadable. What the store knows of the erasure is kept: who asked
// for it, and why.
func (s *Service) enterListedInside(w store.Writer, inside *change, id ErasureID, e ledger.Entry) error {
	row, err := getRow[erasureRow](w, s.rows.erasure(id))
	if err != nil {
		return err
	}
	now := stampOf(s.Clock())
	if row == nil {
		row = &erasureRow{
			Subject: inside.id, Ground: "other", Reason: listedReason, At: map[string]stamp{string(api.ErasureRequested): stampOf(e.At)},
		}
		row.Ballot.System = itself
		if e.Kind == ledger.Slices {
			row.Slices = e.Slices
		}
	}
	row.At[string(api.ErasureErasing)] = now
	inside.delete(s.rows.waiting(waitingErasure, id))
	if other := inside.row.Erasure; other != (ErasureID{}) && other != id {
		inside.delete(s.rows.waiting(waitingErasure, other))
	}
	inside.row.Erasure = id
	return s.enterErasing(w, inside, id, *row)
}

// holds reports whether the person still has a key of a slice that an entry of the ledger lists.
func (row *subjectRow) holds(e ledger.Entry) bool {
	return slices.ContainsFunc(e.Slices, func(slice string) bool { return slices.Contains(e.Keys, row.Keys[slice]) })
}
