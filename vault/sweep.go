package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// overdue is the age from which an unfinished erasure is an alarm.
const overdue = 24 * time.Hour

// wake has the sweeper look at once.
func (s *Service) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// sweepUntil takes up what is unfinished: on start, on a timer, and when woken. It is the only one that carries erasures
// on, so a step that fails here is tried again here, for as long as it takes.
func (s *Service) sweepUntil(ctx context.Context) {
	timer := time.NewTicker(s.SweepEvery)
	defer timer.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.kick:
		}
	}
}

// sweep does what there is to do. What fails is told to the log and left for the next time.
func (s *Service) sweep(ctx context.Context) {
	ctx = store.With(ctx, store.Vital)
	if s.fleet.hold() != nil {
		return
	}
	away := s.title.away()
	if err := s.title.settle(ctx); err != nil {
		s.complain(ctx, "reach the key provider", err)
	}
	err := s.accord.look(ctx, away && !s.title.away())
	if err != nil {
		s.complain(ctx, "hold the erasure ledger against the store and the keys", err)
	}
	s.fleet.can(reaching, err == nil && s.title.standing() == StandingLive && !s.title.away())
	if s.title.standing() != StandingLive || s.accord.hold() != nil {
		return // nothing is destroyed or removed before it is known that this is the vault, and who was erased
	}
	if err := s.writeUses(ctx); err != nil {
		s.complain(ctx, "write down when service tokens were used", err)
	}
	if err := s.learnSaved(ctx); err != nil {
		s.complain(ctx, "learn what snapshots of the keys there are", err)
	}
	if err := s.tellMissing(ctx); err != nil {
		s.complain(ctx, "tell of missing keys", err)
	}
	ctx, leads := s.fleet.lead(ctx)
	if !leads {
		return
	}
	for _, step := range []struct {
		doing string
		do    func(context.Context) error
	}{
		{"take the store on to the next form of rows", s.raise},
		{"end the emergencies that have run out", s.sweepEmergencies},
		{"cancel what was not approved in time", s.sweepLapsed},
		{"destroy the keys of the erased", s.sweepKeys},
		{"destroy proofs of consent whose term is over", s.endProofs},
		{"list the keys of the search index", s.listEpochs},
		{"carry out the rest of the erasure ledger", s.accord.finish}, // from here on an older ledger is not taken for the whole one
		{"carry the erasures to their end", s.sweepErased},
		{"certify the erasures", s.sweepCertificates},
		{"remove abandoned uploads", s.sweepUploads},
		{"see what is left of the erased", s.sweepRemovals},
		{"forget old idempotency keys", s.expireOnce},
		{"bring proofs of consent up to date", s.sweepProofs},
		{"remove handoffs that have run out", s.sweepHandoffs},
		{"remove handles that have run out", s.expireHandles},
		{"forget old budgets", s.expireBudgets},
		{"remove audit entries whose time is over", s.pruneLog},
	} {
		if err := step.do(ctx); err != nil {
			s.complain(ctx, step.doing, err)
		}
	}
}

func (s *Service) complain(ctx context.Context, doing string, err error) {
	if ctx.Err() != nil {
		return
	}
	level := s.Log.ErrorContext
	if errors.Is(err, kms.ErrUnavailable) {
		level = s.Log.WarnContext
	}
	level(ctx, "the sweeper could not "+doing+" and will try again", "error", err)
}

// sweepKeys lists the erasures that are not at their end, and destroys their keys.
func (s *Service) sweepKeys(ctx context.Context) error {
	ids, err := s.pending(ctx, kindOpen)
	if err != nil {
		return err
	}
	if err := s.listErasures(ctx, ids); err != nil {
		return err
	}
	return eachErasure(ids, func(id ErasureID) error {
		row, err := s.erasureRow(ctx, id)
		if err == nil && row.State == api.ErasureErasing {
			err = s.destroyKeys(ctx, id, row)
		}
		if err != nil {
			return fmt.Errorf("erasure %s: destroy the keys: %w", id, err)
		}
		return nil
	})
}

// sweepErased carries the erasures whose keys are gone to their end, and tells what is left.
func (s *Service) sweepErased(ctx context.Context) error {
	ids, err := s.pending(ctx, kindOpen)
	if err != nil {
		return err
	}
	ages := make(chan time.Duration, len(ids)) // of those that are not at their end
	err = eachErasure(ids, func(id ErasureID) error {
		row, err := s.erasureRow(ctx, id)
		if err == nil && row.State == api.ErasureKeyDestroyed {
			err = s.endErasure(ctx, id, row)
		}
		if err == nil && row.State == api.ErasureErased {
			return nil
		}
		age := time.Duration(0)
		if row != nil {
			age = s.Clock().Sub(row.At[string(api.ErasureErasing)].time())
		}
		ages <- age
		if err != nil {
			return fmt.Errorf("erasure %s: %w", id, err)
		}
		return nil
	})
	close(ages)
	left, longest := len(ages), time.Duration(0)
	for age := range ages {
		longest = max(longest, age)
	}
	s.Observer.Backlog(left, longest)
	if longest > overdue {
		s.Log.ErrorContext(ctx, "an erasure has not been finished for more than a day", "unfinished", left)
	}
	return err
}

// eachErasure does something with erasures, a few at a time, and returns the first error when all were tried.
func eachErasure(ids []ErasureID, do func(ErasureID) error) error {
	const atOnce = 8
	work := errgroup.Group{}
	work.SetLimit(atOnce)
	for _, id := range ids {
		work.Go(func() error { return do(id) })
	}
	return work.Wait()
}

// pending lists the erasures that have a row of a kind.
func (s *Service) pending(ctx context.Context, kind byte) ([]ErasureID, error) {
	prefix := s.rows.key(kind)
	var ids []ErasureID
	err := s.Store.View(ctx, func(r store.Reader) error {
		ids = nil
		return scanAll(r, prefix, func(p store.Pair) error {
			ids = append(ids, ErasureID(p.Key[len(prefix):]))
			return nil
		})
	})
	return ids, err
}
