package vault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// StartBreakGlass declares an emergency: for some minutes, one purpose and, if named, one person, the policies know that
// there is one. Law is as it was: who is blocked or erased, what the purpose does not reach and what rests on no consent
// stays shut. It is alerted of at once, and again at the first use; a note is sealed with the person's data.
func (s *Service) StartBreakGlass(ctx context.Context, call Call, req *api.BreakGlassRequest) (*api.BreakGlass, error) {
	return underRules(ctx, s, call, func(call Call) (*api.BreakGlass, error) { return s.startBreakGlass(ctx, call, req) })
}

func (s *Service) startBreakGlass(ctx context.Context, call Call, req *api.BreakGlassRequest) (*api.BreakGlass, error) {
	if err := checkBreakGlass(req); err != nil {
		return nil, err
	}
	if _, err := s.purposeNamed(ctx, call, access.StartBreakGlass, req.Purpose); err != nil {
		return nil, err
	}
	r := access.Request{Action: access.StartBreakGlass, Purpose: req.Purpose, Reason: req.Reason}
	if !call.Principal.VaultWide() {
		r.Refusal = fault.New(fault.Denied, "only staff can declare an emergency")
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var answer *api.BreakGlass
	err := s.once(ctx, call, access.StartBreakGlass, func(o *once) error {
		if e := o.earlier(0); e != nil {
			var err error
			answer, err = s.startedBefore(ctx, call, r, EmergencyID(e.Object))
			return err
		}
		began := EmergencyID(id.New())
		row := s.emergency(call.Principal, began, req)
		_, err := s.act(store.With(ctx, store.Vital), call, func() (deed, error) { return s.beginEmergency(ctx, call, r, began, row, req, o) })
		if err != nil {
			return err
		}
		answer = row.wire(began)
		return s.rulebook.load(ctx)
	})
	return answer, err
}

func checkBreakGlass(req *api.BreakGlassRequest) error {
	if err := checkCode("reason", req.Reason); err != nil {
		return err
	}
	if req.Minutes < 1 || req.Minutes > api.MaxBreakGlass {
		return fault.Bad("minutes", fmt.Sprintf("1 to %d", api.MaxBreakGlass))
	}
	return checkNoteAbout(req.Note, req.Subject != "")
}

// checkNoteAbout refuses a note that there is nobody's key to seal under.
func checkNoteAbout(note string, somebody bool) error {
	if note != "" && !somebody {
		return fault.Bad("note", "only about a person, with whose data it is sealed")
	}
	return checkNote(note)
}

// emergency makes the record of one that begins now. Its review waits for ever.
func (s *Service) emergency(caller access.Principal, e EmergencyID, req *api.BreakGlassRequest) *emergencyRow {
	now := s.Clock()
	row := &emergencyRow{
		Credential: caller.Credential, Reason: req.Reason, Purpose: req.Purpose,
		Started: stampOf(now), Until: stampOf(now.Add(time.Duration(req.Minutes) * time.Minute)),
	}
	row.Ballot = s.newBallot(caller, s.Approvals[ReviewBreakGlass], nil)
	row.Ballot.Until = 0
	return row
}

// digest is SHA-256 of what is reviewed: lines of text, documented in docs/approvals.md.
func (row *emergencyRow) digest(e EmergencyID) []byte {
	subject := ""
	if row.Subject != (SubjectID{}) {
		subject = row.Subject.String()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "sandyq break-glass 1\n%s\n%s\n%s\n%s\n%s\n%d %d\n",
		e, row.Ballot.System, row.Reason, row.Purpose, subject, row.Started, row.Until))
	return sum[:]
}

// beginEmergency prepares the start. That the caller has none that lasts holds for as long as the rules do.
func (s *Service) beginEmergency(ctx context.Context, call Call, r access.Request, began EmergencyID, row *emergencyRow, req *api.BreakGlassRequest, o *once) (d deed, err error) {
	d = deed{request: r, effect: &draft{}}
	if call.rules.emergencyOf(call.Principal).lasts(s.Clock()) {
		d.request.Refusal = conflict("break_glass", "an emergency of yours lasts: end it first")
		return d, nil
	}
	if n, err := s.unreviewed(ctx, call.Principal.System); err != nil {
		return d, err
	} else if n >= maxUnreviewed {
		d.request.Refusal = conflict("break_glass", fmt.Sprintf("%d emergencies of yours wait for their review: have them reviewed first", n))
		return d, nil
	}
	if req.Subject != "" {
		permit := s.keyring.Permit()
		who, err := s.meet(ctx, call, r, req.Subject, nil)
		if err != nil {
			return d, err
		}
		row.Subject, d.request.Subject = who.id, who.id.String()
		if who.row.state != stateActive {
			d.request.Refusal = fault.New(fault.Erased, "this person is erased")
			return d, nil
		}
		if d.entry.Note, err = s.sealNote(ctx, permit, who, req.Note); err != nil {
			return d, err
		}
		d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
	}
	row.Ballot.Digest = row.digest(began)
	d.entry.Objects, d.entry.Digest = []string{began.String()}, row.Ballot.digest()
	d.alerts = []api.Alert{{Kind: alertBreakGlass, Object: began.String()}} // the first use, of somebody, is another
	d.effect.set(s.rows.emergency(began), encodeRow(row))
	if row.Ballot.missing() > 0 {
		d.effect.set(s.rows.waiting(waitingEmergency, began), nil)
	}
	s.changeRule(d.effect, call.rules, classEmergency, began.String(), &ruleRow{
		Version: 1, At: row.Started, By: call.Principal.System,
		Body: encodeRow(emergencyRule{call.Principal.System, call.Principal.Credential, row.Purpose, row.Subject, row.Until}),
	})
	o.keep(d.effect, 0, done{Subject: row.Subject, Object: began})
	return d, nil
}

// maxUnreviewed is how many emergencies of one name may wait for their review. Every start and end changes the rules, which
// makes all calls that run anew, and tells the receivers: no flood of them is an emergency.
const maxUnreviewed = 10

// unreviewed counts the emergencies of one name that wait for their review.
func (s *Service) unreviewed(ctx context.Context, system string) (n int, err error) {
	prefix := s.rows.key(kindWaiting, []byte{byte(waitingEmergency)})
	err = s.Store.View(ctx, func(r store.Reader) error {
		n = 0
		return scanAll(r, prefix, func(p store.Pair) error {
			row, err := getRow[emergencyRow](r, s.rows.emergency(EmergencyID(p.Key[len(prefix):])))
			if err == nil && row != nil && row.Ballot.System == system {
				n++
			}
			return err
		})
	})
	return n, err
}

// startedBefore answers a retry with the emergency that the first call declared.
func (s *Service) startedBefore(ctx context.Context, call Call, r access.Request, e EmergencyID) (*api.BreakGlass, error) {
	row, _, err := s.emergencyRow(ctx, e)
	if err != nil {
		return nil, err
	}
	d := deed{request: r}
	d.entry.Objects = []string{e.String()}
	if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
		return nil, err
	}
	return row.wire(e), nil
}

// emergencyRow reads an emergency, and how often it was used.
func (s *Service) emergencyRow(ctx context.Context, e EmergencyID) (row *emergencyRow, uses int, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		if row, err = getRow[emergencyRow](r, s.rows.emergency(e)); err != nil || row == nil {
			return err
		}
		uses, err = s.usesOf(r, e)
		return err
	})
	if err == nil && row == nil {
		err = errNoEmergency()
	}
	return row, uses, err
}

func errNoEmergency() *fault.Error { return fault.New(fault.NotFound, "there is no such emergency") }

// usesOf counts the entries of the log that an emergency was used for.
func (s *Service) usesOf(r store.Reader, e EmergencyID) (n int, err error) {
	mark := s.rows.emergencyUsed(e)
	err = scanAll(r, mark, func(p store.Pair) error {
		if len(p.Key) > len(mark) {
			n++
		}
		return nil
	})
	return n, err
}

// EndBreakGlass ends an emergency before its time: the caller's own, or any for those who review them. When it answers
// nothing is decided in it any more. Ending what is over changes nothing and is recorded.
func (s *Service) EndBreakGlass(ctx context.Context, call Call, emergency string) (*api.BreakGlass, error) {
	return underRules(ctx, s, call, func(call Call) (*api.BreakGlass, error) { return s.endBreakGlass(ctx, call, emergency) })
}

func (s *Service) endBreakGlass(ctx context.Context, call Call, text string) (*api.BreakGlass, error) {
	return s.changeEmergency(ctx, call, access.Request{Action: access.EndBreakGlass}, text, func(e EmergencyID, row *emergencyRow, d *deed) error {
		reviews := slices.ContainsFunc(row.Ballot.Roles, call.Principal.Has)
		switch {
		case row.Ballot.System != call.Principal.System && !reviews:
			d.request.Refusal = errNoEmergency() // only those who review them know of others' emergencies
		case row.over(s.Clock()):
			d.effect = nil
		default:
			row.Ended = stampOf(s.Clock())
			s.endEmergency(d.effect, call.rules, e, call.Principal.System)
		}
		return nil
	})
}

// changeEmergency changes the record of an emergency as f does, which sets the deed's effect to nil when there is nothing to
// change.
func (s *Service) changeEmergency(ctx context.Context, call Call, r access.Request, text string, f func(EmergencyID, *emergencyRow, *deed) error) (*api.BreakGlass, error) {
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	raw, err := parseID(emergencyPrefix, text)
	if err != nil {
		return nil, s.refuse(ctx, call, r, fault.From(err))
	}
	e := EmergencyID(raw)
	var answer *api.BreakGlass
	err = s.onceIfPossible(ctx, call, r.Action, func(o *once) error {
		_, err := s.act(store.With(ctx, store.Vital), call, func() (d deed, err error) {
			answer, d, err = s.changedEmergency(ctx, r, e, o, f)
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, s.rulebook.load(ctx)
}

// changedEmergency prepares a change to an emergency's record, and the answer to it.
func (s *Service) changedEmergency(ctx context.Context, r access.Request, e EmergencyID, o *once, f func(EmergencyID, *emergencyRow, *deed) error) (*api.BreakGlass, deed, error) {
	d := deed{request: r, effect: &draft{}}
	row, uses, err := s.emergencyRow(ctx, e)
	if err != nil {
		if d.request.Refusal = fault.From(err); d.request.Refusal.Code == fault.NotFound {
			err = nil
		}
		return nil, d, err
	}
	d.entry.Objects, d.entry.Digest = []string{e.String()}, row.Ballot.digest()
	if row.Subject != (SubjectID{}) {
		d.request.Subject = row.Subject.String()
	}
	answer := func() *api.BreakGlass {
		out := row.wire(e)
		out.Uses = uses
		return out
	}
	if before := o.earlier(0); before != nil {
		if d.effect = nil; before.Object != e {
			d.request.Refusal = errAnotherCall()
		}
		return answer(), d, nil
	}
	was := encodeRow(row)
	if err := f(e, row, &d); err != nil {
		return nil, d, err
	}
	if d.effect != nil && d.request.Refusal == nil {
		d.effect.expect(s.rows.emergency(e), was)
		d.effect.set(s.rows.emergency(e), encodeRow(row))
		o.keep(d.effect, 0, done{Subject: row.Subject, Object: e})
	}
	return answer(), d, nil
}
