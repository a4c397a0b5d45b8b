package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// ChangeID names a change of a configuration object that waits, or waited, for approvals.
type ChangeID [16]byte

const changePrefix = "chg_"

func (c ChangeID) String() string { return id.Encode(changePrefix, c) }

// changeRow is a change of a configuration object that others have to approve. It is made against one version of the object,
// and takes effect with the last approval, in the same Update, if that version is still the current one and the object is
// still good under the rules as they are by then. A decided change is kept: it says who agreed to what.
type changeRow struct {
	Class     ruleClass `cbor:"1,keyasint"`
	Name      string    `cbor:"2,keyasint"`
	Against   uint32    `cbor:"3,keyasint"` // the version; 0: there was none
	Body      []byte    `cbor:"4,keyasint"`
	State     string    `cbor:"5,keyasint"` // an api.ChangeState
	Ballot    ballot    `cbor:"6,keyasint"`
	Requested stamp     `cbor:"7,keyasint"`
	Decided   stamp     `cbor:"8,keyasint,omitempty"`
}

func (row *changeRow) key() objectKey { return objectKey{row.Class, row.Name} }

func (row *changeRow) waits() bool { return row.State == string(api.ChangeWaiting) }

// digest is SHA-256 of what is put to the vote: which object, against which version, and what it is to become.
func (p *proposal) digest(against uint32) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "sandyq change 1\n%s\n%s\n%d\n%s\n", p.kind.kind, p.name, against, p.body))
	return sum[:]
}

// proposeChange writes a change that waits for approvals, unless the same caller has asked for the same before.
func (s *Service) proposeChange(ctx context.Context, call Call, r access.Request, p *proposal, needs Approval) (*api.Change, error) {
	against := call.rules.version(p.key())
	digest := p.digest(against)
	change := ChangeID(id.New())
	row := &changeRow{
		Class: p.kind.class, Name: p.name, Against: against, Body: p.body, State: string(api.ChangeWaiting),
		Ballot: s.newBallot(call.Principal, needs, digest), Requested: stampOf(s.Clock()),
	}
	earlier, found, others, err := s.waitingChange(ctx, call.Principal, digest)
	switch {
	case err != nil:
		return nil, err
	case r.Refusal != nil:
	case found != nil:
		return s.changeWire(ctx, earlier, found)
	case others >= maxWaitingChanges:
		r.Refusal = conflict("change", fmt.Sprintf("%d changes of yours wait for approval: have them decided, or cancel them", others))
	}
	d := deed{request: r, effect: &draft{}}
	d.entry.Kind, d.entry.Objects, d.entry.Digest = p.kind.kind, []string{p.name, change.String()}, row.Ballot.digest()
	d.effect.expect(s.rows.change(change), nil)
	d.effect.set(s.rows.change(change), encodeRow(row))
	d.effect.set(s.rows.waiting(waitingChange, change), nil)
	if _, err := s.act(ctx, call, func() (deed, error) { return d, nil }); err != nil {
		return nil, err
	}
	return s.changeWire(ctx, change, row)
}

// maxWaitingChanges is how many changes of one name may wait, so that a flood of them does not bury the others'.
const maxWaitingChanges = 200

// waitingChange finds a change that waits, that the caller has asked for, and that has this digest, and counts the others of
// the caller's name.
func (s *Service) waitingChange(ctx context.Context, caller access.Principal, digest []byte) (which ChangeID, found *changeRow, others int, err error) {
	prefix := s.rows.key(kindWaiting, []byte{byte(waitingChange)})
	err = s.Store.View(ctx, func(r store.Reader) error {
		found, others = nil, 0
		return scanAll(r, prefix, func(p store.Pair) error {
			one := ChangeID(p.Key[len(prefix):])
			row, err := getRow[changeRow](r, s.rows.change(one))
			if err != nil || row == nil || !row.waits() || row.Ballot.lapsed(s.Clock()) {
				return err
			}
			switch {
			case row.Ballot.By == caller.Credential && bytes.Equal(row.Ballot.Digest, digest):
				which, found = one, row
			case row.Ballot.System == caller.System:
				others++
			}
			return nil
		})
	})
	return which, found, others, err
}

// Change shows a change of a configuration object: what it was made against, what it is to become, and who has agreed.
func (s *Service) Change(ctx context.Context, call Call, change string) (*api.Change, error) {
	return configured(ctx, s, call, func(Call) (*api.Change, error) {
		which, row, err := s.changeNamed(ctx, change)
		if err != nil {
			return nil, err
		}
		if row == nil {
			return nil, errNoChange()
		}
		return s.changeWire(ctx, which, row)
	})
}

func errNoChange() *fault.Error { return fault.New(fault.NotFound, "there is no such change") }

// changeNamed reads a change; nil when there is none.
func (s *Service) changeNamed(ctx context.Context, text string) (which ChangeID, row *changeRow, err error) {
	raw, err := parseID(changePrefix, text)
	if err != nil {
		return which, nil, nil //nolint:nilerr // what is no id names no change
	}
	which = ChangeID(raw)
	err = s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[changeRow](r, s.rows.change(which))
		return err
	})
	return which, row, err
}

// ApproveChange is a second person's word on a change. With the last one that is needed, the change takes effect.
func (s *Service) ApproveChange(ctx context.Context, call Call, change string, req *api.ApproveChangeRequest) (*api.Change, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Change, error) {
		return s.decideChange(ctx, call, access.DecideChange, change, func(d *deed, row *changeRow, which ChangeID) (*fault.Error, error) {
			refusal, err := s.vote(ctx, call.Principal, &row.Ballot, req.Digest)
			if err != nil || refusal != nil {
				return refusal, err
			}
			if d.request.Approvals = len(row.Ballot.Votes); row.Ballot.missing() > 0 {
				return nil, nil
			}
			return s.takeEffect(ctx, call, d.effect, row, which)
		})
	})
}

// CancelChange takes back a change that waits.
func (s *Service) CancelChange(ctx context.Context, call Call, change string) (*api.Change, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Change, error) {
		return s.decideChange(ctx, call, access.CancelChange, change, func(_ *deed, row *changeRow, _ ChangeID) (*fault.Error, error) {
			row.State = string(api.ChangeCancelled)
			return nil, nil
		})
	})
}

// takeEffect has a draft write what a change asked for, or returns what has come between.
func (s *Service) takeEffect(ctx context.Context, call Call, d *draft, row *changeRow, which ChangeID) (*fault.Error, error) {
	k, err := objectKindOf(row.Class)
	if err != nil {
		return nil, err
	}
	if version := call.rules.version(row.key()); version != row.Against {
		return conflict("version", fmt.Sprintf("the change was made against %d, and %d is current: ask for it anew", row.Against, version)), nil
	}
	if bad := s.mayBecome(ctx, call, k, row.Name, row.Body); bad != nil {
		return &fault.Error{
			Code: fault.Conflict, Detail: "it does not go with what is configured by now: ask for it anew", Fields: bad.Fields,
		}, nil
	}
	now := stampOf(s.Clock())
	row.State = string(api.ChangeEffective)
	s.changeRule(d, call.rules, row.Class, row.Name, &ruleRow{
		Version: row.Against + 1, Body: row.Body, At: now, By: row.Ballot.System, Change: which[:],
	})
	return nil, nil
}

// decideChange has decide say what becomes of a change that waits, and writes it.
func (s *Service) decideChange(ctx context.Context, call Call, a access.Action, change string, decide func(*deed, *changeRow, ChangeID) (*fault.Error, error)) (*api.Change, error) {
	r := access.Request{Action: a}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	var which ChangeID
	var row *changeRow
	err := s.once(ctx, call, a, func(o *once) error {
		_, err := s.act(ctx, call, func() (d deed, err error) {
			d = deed{request: r, effect: &draft{}}
			if which, row, err = s.changeNamed(ctx, change); err != nil {
				return d, err
			}
			if row == nil {
				d.request.Refusal = errNoChange()
				return d, nil
			}
			return d, s.decisionOn(&d, row, which, o, decide)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.rulebook.load(ctx); err != nil {
		return nil, err
	}
	return s.changeWire(ctx, which, row)
}

// decisionOn has a deed say what is decided on a change.
func (s *Service) decisionOn(d *deed, row *changeRow, which ChangeID, o *once, decide func(*deed, *changeRow, ChangeID) (*fault.Error, error)) error {
	k, err := objectKindOf(row.Class)
	if err != nil {
		return err
	}
	d.entry.Kind, d.entry.Objects, d.entry.Digest = k.kind, []string{row.Name, which.String()}, row.Ballot.digest()
	if e := o.earlier(0); e != nil {
		if e.Object != which {
			d.request.Refusal = errAnotherCall()
		}
		return nil
	}
	if !row.waits() {
		d.request.Refusal = conflict("change", "it is not waiting for approval: it is "+row.State)
		return nil
	}
	before := encodeRow(row)
	if d.request.Refusal, err = decide(d, row, which); err != nil || d.request.Refusal != nil {
		return err
	}
	d.effect.expect(s.rows.change(which), before)
	if !row.waits() {
		row.Decided = stampOf(s.Clock())
		d.effect.delete(s.rows.waiting(waitingChange, which))
	}
	d.effect.set(s.rows.change(which), encodeRow(row))
	o.keep(d.effect, 0, done{Object: which})
	return nil
}

// changeWaiting is a change in the list of what waits.
func (s *Service) changeWaiting(r store.Reader, _ access.Principal, thing [16]byte) (*api.Waiting, error) {
	row, err := getRow[changeRow](r, s.rows.change(thing))
	if err != nil || row == nil || !row.waits() {
		return nil, err
	}
	w := row.Ballot.waiting(ChangeID(thing).String(), api.WaitingChange)
	w.At = row.Requested.time()
	return w, nil
}

// lapseChange ends a change that was not approved in time.
func (s *Service) lapseChange(ctx context.Context, thing [16]byte, now time.Time) error {
	which := ChangeID(thing)
	var row *changeRow
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		row, err = getRow[changeRow](r, s.rows.change(which))
		return err
	})
	if err != nil || row == nil || !row.waits() || !row.Ballot.lapsed(now) {
		return err
	}
	k, err := objectKindOf(row.Class)
	if err != nil {
		return err
	}
	d := &draft{}
	d.expect(s.rows.change(which), encodeRow(row))
	row.State, row.Decided = string(api.ChangeLapsed), stampOf(now)
	d.set(s.rows.change(which), encodeRow(row))
	d.delete(s.rows.waiting(waitingChange, which))
	if err := s.log(d, &audit.Entry{
		System: itself, Operation: "configuration." + row.State, Objects: []string{row.Name, which.String()}, Kind: k.kind,
		Decision: audit.Allow, Digest: row.Ballot.digest(),
	}); err != nil {
		return err
	}
	_, err = commit(ctx, s.Store, d) // one that is stale was decided meanwhile
	return err
}

// changeWire is a change as the API shows it.
func (s *Service) changeWire(ctx context.Context, which ChangeID, row *changeRow) (*api.Change, error) {
	k, err := objectKindOf(row.Class)
	if err != nil {
		return nil, err
	}
	wire := &api.Change{
		Change: which.String(), Kind: k.kind, Name: row.Name, State: api.ChangeState(row.State), Digest: row.Ballot.digest(),
		RequestedBy: row.Ballot.System, RequestedAt: row.Requested.time(), DecidedAt: row.Decided.time(), Approvals: row.Ballot.wire(),
	}
	switch {
	case row.waits() && row.Ballot.lapsed(s.Clock()):
		wire.State = api.ChangeLapsed
	case row.waits():
		wire.ApprovalsNeeded, wire.LapsesAt = row.Ballot.missing(), row.Ballot.Until.time()
	case wire.State == api.ChangeEffective:
		wire.Version = int(row.Against) + 1
	}
	if wire.To, err = k.show(s, row.Name, &ruleRow{Body: row.Body}); err != nil || row.Against == 0 {
		return wire, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		was, err := getRow[ruleRow](r, s.rows.ruleVersion(row.Class, row.Name, row.Against))
		if err != nil || was == nil {
			return err
		}
		wire.From, err = k.show(s, row.Name, was)
		return err
	})
	return wire, err
}
