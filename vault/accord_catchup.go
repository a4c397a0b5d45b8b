package vault

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// catchUp deals with what the ledger lists beyond a mark. What the store knows of is unreadable, and is left to the sweeper. When
// one side was rolled back nothing is given out until everything that the ledger lists was gone through again.
func (a *accord) catchUp(ctx context.Context, head ledger.Head, mine, theirs kms.Mark) error {
	behind, err := a.behind(ctx, mine.Entries)
	if err != nil {
		return err
	}
	if !behind && theirs.Entries >= mine.Entries {
		return nil
	}
	a.service.Log.ErrorContext(ctx, "the store or the keys were restored from an older state: the erasure ledger is carried out again",
		"listed", head.Entries, "store", mine.Entries, "keys", theirs.Entries)
	a.holdBack(errCarriedOutAgain)
	if behind && !a.renewed {
		// What was signed after the state that this store was restored from is not to be contradicted, and the anchor of the log
		// may have been restored with it. That comes first: once people are entered in it the store looks like any other.
		if err := a.service.renewLog(ctx); err != nil {
			return err
		}
		a.renewed = true
	}
	return a.carryOutAll(ctx, head)
}

// carryOutAll goes through all that the ledger lists.
func (a *accord) carryOutAll(ctx context.Context, head ledger.Head) error {
	if err := a.leave(head.Entries); err != nil {
		return err
	}
	if err := a.carryOut(ctx, 0); err != nil {
		return err
	}
	return a.advance(ctx)
}

// finish carries out what was begun, by whomever, and nobody else takes up, and notes how far all is done. The keys' mark is never
// behind the store's, unless the keys were rolled back: that is for a comparison to deal with, and not to be written over.
func (a *accord) finish(ctx context.Context) error {
	mine, err := a.mark(ctx)
	if err != nil {
		return err
	}
	theirs, err := a.service.Keys.Mark(ctx)
	if err != nil {
		return err
	}
	if mine != nil && theirs.Entries < mine.Entries {
		return a.look(ctx, true)
	}
	head, err := a.ledger.Head(ctx)
	a.away = err != nil
	if err != nil {
		return fmt.Errorf("the erasure ledger: %w", err)
	}
	if through := a.progress.to(); through < head.Entries {
		if err := a.carryOut(ctx, through); err != nil {
			return err
		}
	}
	return a.advance(ctx)
}

var errCarriedOutAgain = fault.New(fault.Unavailable, "the erasure ledger is being carried out again after a restore: ask again later")

// startOver makes good that the store is not as it was left, by what the anchor of its log says, whatever the marks are: they may
// have been restored with it. All that the ledger lists is gone through again, and then the log goes on under another origin.
// That comes last, so that a crash has everything begun anew; until then the log is not signed.
func (a *accord) startOver(ctx context.Context, head ledger.Head, why error) error {
	a.service.Log.ErrorContext(ctx, "the store was restored from an older state, or the anchor of its log is gone: "+
		"the erasure ledger is carried out again, and the log goes on under another origin", "listed", head.Entries, "error", why)
	a.holdBack(errCarriedOutAgain)
	if err := a.carryOutAll(ctx, head); err != nil {
		return err
	}
	return a.service.renewLog(ctx)
}

// leave leaves to the sweeper what would hold up a start, which serves blocks.
func (a *accord) leave(entries uint64) error {
	const quick = 1000
	if a.opening && entries > quick {
		return fmt.Errorf("%d entries of the erasure ledger are yet to be gone through", entries)
	}
	return nil
}

// advance sets both marks as far as everything is carried out, the key side's first.
func (a *accord) advance(ctx context.Context) error {
	s := a.service
	head, err := a.ledger.Head(ctx)
	if err != nil {
		return fmt.Errorf("the erasure ledger: %w", err)
	}
	to := min(a.progress.to(), head.Entries)
	hash, err := a.ledger.At(ctx, to)
	if err != nil {
		return fmt.Errorf("the erasure ledger: %w", err)
	}
	next := kms.Mark{Entries: to, Head: hash}
	theirs, err := s.Keys.Mark(ctx)
	if err != nil {
		return err
	}
	if theirs.Entries > next.Entries {
		if err := contains(ctx, a.ledger, theirs); err == nil || !foreign(err) {
			return err // nil: another node is ahead
		}
	}
	if theirs != next {
		if err := s.Keys.SetMark(ctx, theirs, next); err != nil {
			return fmt.Errorf("note at the keys how far the ledger is carried out: %w", err)
		}
	}
	return s.Store.Update(store.With(ctx, store.Vital), func(w store.Writer) error {
		key := s.rows.meta(metaLedger)
		row, err := getRow[markRow](w, key)
		if err != nil || row != nil && (row.mark() == next || row.Entries > next.Entries) {
			return err
		}
		return w.Set(key, encodeRow(markRow{next.Entries, next.Head, row != nil && row.Rebuilt}))
	})
}
