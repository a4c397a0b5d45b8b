package vault

import (
	"context"
	"errors"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// EmergencyID names an emergency that somebody has declared: a breaking of the glass.
type EmergencyID [16]byte

const emergencyPrefix = "brk_"

func (e EmergencyID) String() string { return id.Encode(emergencyPrefix, e) }

// emergencyRow is an emergency, kept after it is over. While it lasts, a rule of classEmergency under its id says so to all
// nodes: from the acknowledgement of its start to that of its end. Every entry of the log that it is used for points to it.
type emergencyRow struct {
	Ballot     ballot    `cbor:"1,keyasint"` // the reviews, and who declared it
	Credential string    `cbor:"2,keyasint"` // for which it holds
	Reason     string    `cbor:"3,keyasint"`
	Purpose    string    `cbor:"4,keyasint"` // for which alone it holds
	Subject    SubjectID `cbor:"5,keyasint"` // for whom alone it holds; zero: for anybody
	Started    stamp     `cbor:"6,keyasint"`
	Until      stamp     `cbor:"7,keyasint"`
	Ended      stamp     `cbor:"8,keyasint,omitempty"` // before its time
	Outcomes   []string  `cbor:"9,keyasint,omitempty"` // of the reviews, in the ballot's order
}

// over reports that nothing is done in the emergency any more.
func (row *emergencyRow) over(now time.Time) bool {
	return row.Ended != 0 || !now.Before(row.Until.time())
}

// open reports that the emergency lasts, or is not reviewed by as many as needed.
func (row *emergencyRow) open(now time.Time) bool { return row.Ballot.missing() > 0 || !row.over(now) }

// classEmergency is the emergencies that last, by their ids; the body is an emergencyRule.
const classEmergency ruleClass = 'b'

// emergencyRule is what an emergency means to decisions.
type emergencyRule struct {
	System     string    `cbor:"1,keyasint"`
	Credential string    `cbor:"2,keyasint"`
	Purpose    string    `cbor:"3,keyasint"`
	Subject    SubjectID `cbor:"4,keyasint"`
	Until      stamp     `cbor:"5,keyasint"`
}

// emergency is one that the rules know. It may have run out: see lasts.
type emergency struct {
	id EmergencyID
	emergencyRule
}

func (e *emergency) lasts(now time.Time) bool { return e != nil && now.Before(e.Until.time()) }

// is reports whether the emergency is about the person.
func (e *emergency) is(subject string) bool {
	return e.Subject == (SubjectID{}) || e.Subject.String() == subject
}

// declarer is whose emergency it is.
type declarer struct{ system, credential string }

// readEmergency takes an emergency into the rules being made. Of several of one principal the one that ends last counts: the
// others have run out.
func (r *rules) readEmergency(name string, row *ruleRow) error {
	raw, err := id.Decode(emergencyPrefix, name)
	if err != nil {
		return errors.New("an emergency in the store is damaged")
	}
	rule, err := decodeRow[emergencyRule](row.Body)
	if err != nil {
		return err
	}
	if r.emergencies == nil {
		r.emergencies = map[declarer]*emergency{}
	}
	of := declarer{rule.System, rule.Credential}
	if other := r.emergencies[of]; other == nil || other.Until < rule.Until {
		r.emergencies[of] = &emergency{raw, *rule}
	}
	return nil
}

// emergencyOf is the emergency that a principal has declared, or nil. It may have run out.
func (r *rules) emergencyOf(p access.Principal) *emergency {
	return r.emergencies[declarer{p.System, p.Credential}]
}

// asks completes a request with who asks, and whether in an emergency of theirs: one that lasts, of this purpose, about this
// person. Every question to the gate goes through it.
func (s *Service) asks(call Call, r access.Request) access.Request {
	r.Principal = call.Principal
	e := call.rules.emergencyOf(call.Principal)
	r.BreakGlass = e.lasts(s.Clock()) && e.Purpose == r.Purpose && e.is(r.Subject)
	return r
}

// asksEarly is asks before it is known about whom: then an emergency may be about them.
func (s *Service) asksEarly(call Call, r access.Request) access.Request {
	early := r
	if e := call.rules.emergencyOf(call.Principal); r.Subject == "" && e.lasts(s.Clock()) {
		early.Subject = e.Subject.String()
	}
	early = s.asks(call, early)
	early.Subject = r.Subject
	return early
}

// usedEmergency has what is written say that an emergency was used for it, and alerts at the first use. raise is called when
// all is durable.
func (s *Service) usedEmergency(call Call, d *deed, written *draft, entry string) (raise func(), err error) {
	e := call.rules.emergencyOf(call.Principal)
	at, err := audit.ParseID(entry)
	if err != nil {
		return nil, err
	}
	written.set(s.rows.emergencyUse(e.id, at), nil)
	alert := &draft{}
	tell := s.alert(alert, api.Alert{
		Kind: alertBreakGlass, Subject: d.request.Subject, Object: e.id.String(),
		System: call.Principal.System, Operation: string(d.request.Action), RequestID: call.RequestID,
	})
	first, mark := false, s.rows.emergencyUsed(e.id)
	written.after(func(w store.Writer) error {
		rows, err := w.Get(mark)
		if first = err == nil && rows[0] == nil; !first {
			return err
		}
		if err := w.Set(mark, []byte{}); err != nil {
			return err
		}
		return alert.write(w)
	})
	return func() {
		if first {
			tell()
		}
	}, nil
}

// endEmergency has a draft take an emergency out of the rules. Ids are never used again, so nothing has to remember that it
// is no more.
func (s *Service) endEmergency(d *draft, from *rules, e EmergencyID, by string) {
	s.changeRule(d, from, classEmergency, e.String(), &ruleRow{Version: 2, At: stampOf(s.Clock()), By: by})
	d.delete(s.rows.rule(classEmergency, e.String()))
}

// sweepEmergencies takes what has run out out of the rules. The record stays, for the review.
func (s *Service) sweepEmergencies(ctx context.Context) error {
	now := s.rulebook.current.Load()
	d := &draft{}
	for _, e := range now.emergencies {
		if e.lasts(s.Clock()) {
			continue
		}
		s.endEmergency(d, now, e.id, itself)
		err := s.log(d, &audit.Entry{
			System: itself, Operation: "breakglass.expired", Objects: []string{e.id.String()}, Purpose: e.Purpose, Decision: audit.Allow,
		})
		if err != nil {
			return err
		}
	}
	if len(d.writes) == 0 {
		return nil
	}
	if _, err := commitOn(ctx, s.Store, s.ground(now), d); err != nil && !errors.Is(err, errRules) {
		return err
	}
	return s.rulebook.load(ctx)
}
