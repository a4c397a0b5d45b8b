package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
)

// deed is one step about one person or about nobody: what the gate is asked, what is written when it permits, and what
// the audit entry says beside the request.
type deed struct {
	request access.Request
	effect  *draft      // nil: nothing but the entry
	alerts  []api.Alert // raised with it, permitted or refused
	dues    []due       // charged before it
	entry   audit.Entry
}

// outcome is what became of a deed.
type outcome struct {
	grant access.Grant // good for opening keys, if permitted
	err   error        // why the gate refused
	stale bool         // what it rested on changed meanwhile: nothing was written, decide again
}

// perform is the one door: it has the gate decide on every deed, charges for it, commits what it permits together with an audit entry for
// each, permitted or refused, in one Update, and returns what became of each. After an error the outcome is unknown.
func (s *Service) perform(ctx context.Context, call Call, deeds ...deed) ([]outcome, error) {
	outcomes := make([]outcome, len(deeds))
	requests := make([]access.Request, len(deeds))
	for i := range deeds {
		deeds[i].request = s.asks(call, deeds[i].request)
		requests[i] = deeds[i].request
	}
	var raise []raised
	grants, err := call.rules.gate.Enter(ctx, requests, func(decisions []access.Decision) ([]bool, error) {
		if err := s.charge(ctx, call, deeds, func(i int) bool { return decisions[i].Allowed() }); err != nil {
			return nil, err
		}
		drafts := make([]*draft, len(deeds))
		raise = raise[:0]
		for i, d := range decisions {
			outcomes[i].err = d.Err()
			written, entry, err := s.recorded(call, &deeds[i], d)
			if err != nil {
				return nil, err
			}
			if d.Allowed() && deeds[i].request.BreakGlass {
				tell, err := s.usedEmergency(call, &deeds[i], written, entry)
				if err != nil {
					return nil, err
				}
				raise = append(raise, raised{i, tell})
			}
			for _, a := range s.alertsOf(call, &deeds[i]) {
				raise = append(raise, raised{i, s.alert(written, a)})
			}
			drafts[i] = written
		}
		return commitAll(ctx, s.Store, s.ground(call.rules), drafts)
	})
	if err != nil {
		return nil, err
	}
	for i := range outcomes {
		outcomes[i].grant = grants[i]
		outcomes[i].stale = outcomes[i].err == nil && grants[i] == (access.Grant{})
	}
	for _, r := range raise {
		if !outcomes[r.deed].stale {
			r.now()
		}
	}
	for i, o := range outcomes {
		if o.err == nil && !o.stale && deeds[i].request.Basis == basisNone {
			s.Observer.NoBasis()
		}
	}
	return outcomes, nil
}

// raised is an alert that is raised once what its deed wrote is durable.
type raised struct {
	deed int
	now  func()
}

// alertsOf is what a deed alerts of: what it says itself, and any use of a person whom nobody has cause to use.
func (s *Service) alertsOf(call Call, d *deed) []api.Alert {
	all := slices.Concat(d.alerts, call.rules.canaries.person(d.request.Subject))
	for i := range all {
		all[i].System, all[i].Operation, all[i].RequestID = call.Principal.System, string(d.request.Action), call.RequestID
	}
	return distinct(all)
}

// recorded is the effect of a deed, if it is permitted, with the audit entry, whose id it returns.
func (s *Service) recorded(call Call, d *deed, decision access.Decision) (written *draft, entry string, err error) {
	written = &draft{}
	if decision.Allowed() && d.effect != nil {
		written = &draft{expects: d.effect.expects, writes: slices.Clip(d.effect.writes), leaves: slices.Clip(d.effect.leaves), late: d.effect.late}
	}
	r := d.request
	e := d.entry
	e.At = s.Clock().UTC()
	e.RequestID = call.RequestID
	e.System, e.Credential, e.Role = call.Principal.System, call.Principal.Credential, call.Principal.RoleNames()
	e.OnBehalfOf, e.Operation, e.Subject = r.Behalf.Actor, operationOf(call.Principal, r.Action), r.Subject
	e.Verified, e.Basis, e.Consent, e.Recipient = r.Behalf.Verified, r.Basis, r.Consent, r.Recipient
	e.Fields, e.Purpose, e.Reason, e.Form = r.Fields, r.Purpose, r.Reason, string(decision.Form)
	e.Decision, e.Policies = audit.Allow, decision.Policies
	if err := decision.Err(); err != nil {
		e.Decision, e.Outcome = audit.Deny, fault.CodeOf(err)
	}
	if r.BreakGlass {
		e.BreakGlass = call.rules.emergencyOf(call.Principal).id.String()
	}
	err = s.log(written, &e)
	return written, e.ID, err
}

// log has a draft write an audit entry.
func (s *Service) log(d *draft, e *audit.Entry) error {
	if e.At.IsZero() {
		e.At = s.Clock().UTC()
	}
	id := audit.NewID(e.At)
	e.ID = id.String()
	b, err := e.Encode()
	if err != nil {
		return err
	}
	d.set(s.rows.audit(id), b)
	d.leaves = append(d.leaves, s.leafOf(id, e.Operation, b))
	if e.Subject != "" {
		subject, err := parseID(subjectPrefix, e.Subject)
		if err != nil {
			return err
		}
		d.set(s.rows.auditOf(subject, id), nil)
	}
	return nil
}

// maxRounds bounds how often a deed that went stale is decided anew. Each round lost means that another was won.
const maxRounds = 12

// errContended ends a call that lost every round.
var errContended = fault.New(fault.Unavailable, "this person is being changed by too many at once: ask again")

// act performs one deed, prepared anew as often as it goes stale, and returns its outcome. A refusal is the error.
func (s *Service) act(ctx context.Context, call Call, prepare func() (deed, error)) (outcome, error) {
	for round := range maxRounds {
		d, err := prepare()
		if err != nil {
			return outcome{}, err
		}
		outcomes, err := s.perform(ctx, call, d)
		if err != nil {
			return outcome{}, err
		}
		if o := outcomes[0]; !o.stale {
			return o, o.err
		}
		if round == 0 && d.effect != nil && d.effect.late == nil {
			end, err := s.turns.take(ctx, d.request.Subject)
			if err != nil {
				return outcome{}, err
			}
			defer end()
		}
	}
	return outcome{}, errContended
}

// meet reads a person for a caller within one snapshot. When the person is nobody to the caller, or gone, that is recorded
// like every other refusal.
func (s *Service) meet(ctx context.Context, call Call, r access.Request, subject string, f func(store.Reader, *person) error) (*person, error) {
	var found *person
	var named []api.Alert
	err := s.Store.View(ctx, func(rd store.Reader) error {
		p, err := s.resolve(rd, call.Principal, subject)
		if err != nil {
			var lost error
			if named, lost = s.named(rd, &call.rules.canaries, subject); lost != nil {
				return lost
			}
			return err
		}
		found = p
		if f == nil {
			return nil
		}
		return f(rd, p)
	})
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		r.Refusal = refused
		return nil, s.refuseDeed(ctx, call, deed{request: r, alerts: named})
	}
	return found, err
}

// refuse records a refusal and returns it; when it can't be recorded, that is the error.
func (s *Service) refuse(ctx context.Context, call Call, r access.Request, refusal *fault.Error) error {
	r.Refusal = refusal
	return s.refuseDeed(ctx, call, deed{request: r})
}

// refuseDeed is refuse for a deed whose request has its refusal, and that costs or alerts of something.
func (s *Service) refuseDeed(ctx context.Context, call Call, d deed) error {
	outcomes, err := s.perform(ctx, call, d)
	if err != nil {
		return err
	}
	return outcomes[0].err
}

// admit refuses early what the gate would refuse whatever it is about, so that nothing is looked up for it.
func (s *Service) admit(ctx context.Context, call Call, r access.Request) error {
	if err := s.current(); err != nil {
		return err
	}
	if d := call.rules.gate.Decide(ctx, s.asksEarly(call, r)); !d.Allowed() {
		refused := fault.From(d.Err())
		return s.refuse(ctx, call, r, refused)
	}
	return nil
}
