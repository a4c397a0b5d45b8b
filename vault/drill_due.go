package vault

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/audit"
)

// drillUntil runs the drills that were asked for, and those that are due, one after another.
func (s *Service) drillUntil(ctx context.Context) {
	timer := time.NewTicker(s.SweepEvery)
	defer timer.Stop()
	opened := s.Clock()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.drilled:
			d.run(ctx)
		case <-timer.C:
			if err := s.drillIfDue(ctx, opened); err != nil {
				s.complain(ctx, "begin a drill", err)
			}
		}
	}
}

// drillIfDue runs a drill when it is time for one, or one has fallen. Only the live vault is drilled.
func (s *Service) drillIfDue(ctx context.Context, opened time.Time) error {
	if _, leads := s.fleet.lead(ctx); !leads || s.title.standing() != StandingLive || s.accord.hold() != nil {
		return nil
	}
	row, err := s.drillRow(ctx)
	if err != nil {
		return err
	}
	s.Observer.Drill(row.Succeeded.time(), false) // another node may have run it
	if s.Drills.Every == 0 {
		return nil
	}
	now := s.Clock()
	due := row.Started.time().Add(s.Drills.Every)
	switch {
	case row.runs(stampOf(now)):
		return nil
	case row.Started == 0:
		due = opened.Add(min(drillFirst, s.Drills.Every))
	case row.Run != (DrillID{}):
		due = row.Until.time()
	}
	if now.Before(due) || now.Before(opened.Add(min(drillSettled, s.Drills.Every))) {
		return nil
	}
	made := &drill{Service: s}
	d := &draft{late: made.claim}
	entry := &audit.Entry{System: itself, Operation: string(access.RunDrill), Decision: audit.Allow}
	if err := s.log(d, entry); err != nil {
		return err
	}
	_, err = commit(ctx, s.Store, d)
	if errors.Is(err, errDrilling) {
		return nil
	}
	if err == nil {
		made.run(ctx)
	}
	return err
}
