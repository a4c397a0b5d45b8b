package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// The outcomes of a review.
var outcomesOfReview = []string{"justified", "misuse"}

// ReviewBreakGlass is somebody else's word on an emergency that is over. It stays in the list until as many as needed have
// given theirs.
func (s *Service) ReviewBreakGlass(ctx context.Context, call Call, emergency string, req *api.BreakGlassReviewRequest) (*api.BreakGlass, error) {
	return underRules(ctx, s, call, func(call Call) (*api.BreakGlass, error) {
		return s.reviewBreakGlass(ctx, call, emergency, req)
	})
}

func (s *Service) reviewBreakGlass(ctx context.Context, call Call, text string, req *api.BreakGlassReviewRequest) (*api.BreakGlass, error) {
	if err := checkOneOf("outcome", req.Outcome, outcomesOfReview...); err != nil {
		return nil, err
	}
	if err := checkNote(req.Note); err != nil {
		return nil, err
	}
	return s.changeEmergency(ctx, call, access.Request{Action: access.ReviewBreakGlass}, text, func(e EmergencyID, row *emergencyRow, d *deed) (err error) {
		d.entry.Kind = req.Outcome
		switch {
		case !row.over(s.Clock()):
			d.request.Refusal = conflict("break_glass", "it is not over: end it first")
			return nil
		case row.Ballot.missing() == 0:
			d.request.Refusal = conflict("break_glass", "it needs no review any more")
			return nil
		}
		if d.request.Refusal, err = s.vote(ctx, call.Principal, &row.Ballot, ""); err != nil || d.request.Refusal != nil {
			return err
		}
		row.Outcomes = append(row.Outcomes, req.Outcome)
		if row.Ballot.missing() == 0 {
			d.effect.delete(s.rows.waiting(waitingEmergency, e))
		}
		return s.noteReview(ctx, row, req.Note, d)
	})
}

// noteReview seals a reviewer's note with the data of the person whom the emergency was about.
func (s *Service) noteReview(ctx context.Context, row *emergencyRow, note string, d *deed) error {
	if note == "" {
		return nil
	}
	if err := checkNoteAbout(note, row.Subject != (SubjectID{})); err != nil {
		return err
	}
	permit := s.keyring.Permit()
	var who *person
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		who, err = s.load(r, row.Subject, "")
		return err
	})
	if err != nil {
		return err
	}
	if who == nil || who.row.state != stateActive {
		d.request.Refusal = fault.New(fault.Erased, "this person is erased: there is nothing left to seal a note with")
		return nil
	}
	d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
	d.entry.Note, err = s.sealNote(ctx, permit, who, note)
	return err
}

// BreakGlass lists emergencies with how often they were used: with open those that last or are not reviewed, or the others,
// or all when open is nil.
func (s *Service) BreakGlass(ctx context.Context, call Call, open *bool, limit int, cursor string) (*api.Page[api.BreakGlass], error) {
	return underRules(ctx, s, call, func(call Call) (*api.Page[api.BreakGlass], error) {
		return s.listBreakGlass(ctx, call, open, limit, cursor)
	})
}

func (s *Service) listBreakGlass(ctx context.Context, call Call, open *bool, limit int, cursor string) (*api.Page[api.BreakGlass], error) {
	limit, err := checkLimit(limit)
	if err != nil {
		return nil, err
	}
	var from []byte
	if cursor != "" {
		raw, err := id.Decode(emergencyPrefix, cursor)
		if err != nil {
			return nil, fault.Bad("cursor", ruleUnknown)
		}
		from = s.rows.emergency(raw)
	}
	if err := s.consult(ctx, call, access.ListBreakGlass); err != nil {
		return nil, err
	}
	page := &api.Page[api.BreakGlass]{Items: []api.BreakGlass{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		page.Items, page.NextCursor = page.Items[:0], ""
		return s.eachEmergency(r, from, func(e EmergencyID, row *emergencyRow) (enough bool, err error) {
			if open != nil && *open != row.open(s.Clock()) {
				return false, nil
			}
			if len(page.Items) == limit {
				page.NextCursor = page.Items[limit-1].BreakGlass
				return true, nil
			}
			shown, err := s.emergencyFor(r, call.Principal, e, row)
			if err == nil {
				page.Items = append(page.Items, *shown)
			}
			return false, err
		})
	})
	return page, err
}

// eachEmergency tells of every emergency after a key, until enough are told.
func (s *Service) eachEmergency(r store.Reader, after []byte, tell func(EmergencyID, *emergencyRow) (enough bool, err error)) error {
	const step = 200
	prefix := s.rows.key(kindEmergency)
	for {
		pairs, err := r.Scan(prefix, after, step)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			row, err := decodeRow[emergencyRow](p.Value)
			if err != nil {
				return err
			}
			if enough, err := tell(EmergencyID(p.Key[len(prefix):]), row); err != nil || enough {
				return err
			}
		}
		if len(pairs) < step {
			return nil
		}
		after = pairs[step-1].Key
	}
}

// emergencyFor is an emergency as one of the staff sees it: about a person of whom they may know.
func (s *Service) emergencyFor(r store.Reader, caller access.Principal, e EmergencyID, row *emergencyRow) (*api.BreakGlass, error) {
	out := row.wire(e)
	var err error
	if out.Uses, err = s.usesOf(r, e); err != nil || out.Subject == "" {
		return out, err
	}
	who, err := s.load(r, row.Subject, caller.System)
	if err != nil || who == nil {
		return out, err
	}
	sees, err := s.sees(r, caller, who)
	if !sees {
		out.Subject = ""
	}
	return out, err
}

// waitingEmergency is an emergency in the list of what waits.
func (s *Service) waitingEmergency(r store.Reader, _ access.Principal, thing [16]byte) (*api.Waiting, error) {
	e := EmergencyID(thing)
	row, err := getRow[emergencyRow](r, s.rows.emergency(e))
	if err != nil || row == nil {
		return nil, err
	}
	w := row.Ballot.waiting(e.String(), api.WaitingBreakGlass)
	w.At = row.Started.time()
	return w, nil
}

// wire is an emergency as staff see it. How often it was used is counted apart.
func (row *emergencyRow) wire(e EmergencyID) *api.BreakGlass {
	out := &api.BreakGlass{
		BreakGlass: e.String(), System: row.Ballot.System, Reason: row.Reason, Purpose: row.Purpose,
		StartedAt: row.Started.time(), ExpiresAt: row.Until.time(), EndedAt: row.Ended.time(),
		ReviewsNeeded: row.Ballot.missing(), Reviews: []api.BreakGlassReview{},
	}
	if row.Subject != (SubjectID{}) {
		out.Subject = row.Subject.String()
	}
	for i, word := range row.Ballot.wire() {
		out.Reviews = append(out.Reviews, api.BreakGlassReview{
			BySystem: word.BySystem, Roles: word.Roles, At: word.At, Outcome: row.Outcomes[i],
		})
	}
	out.Reviews = slices.Clip(out.Reviews)
	return out
}
