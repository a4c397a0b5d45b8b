package vault

import (
	"bytes"
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// erasureRow is an erasure. It goes through its states in order and never back; each step may be repeated, so a crash
// anywhere is followed by the same step again (see sweep):
//
//	requested ─▶ erasing ─▶ key_destroyed ─▶ erased
//	    └─▶ cancelled
//
// requested waits for approvals, under a block of its own. The Update that enters erasing takes the person out of the
// index and makes them unreadable; the keys it lists are then destroyed, verified gone, and only then is key_destroyed
// written; then rows and blobs go.
type erasureRow struct {
	Subject   SubjectID           `cbor:"1,keyasint"`
	State     api.ErasureState    `cbor:"2,keyasint"`
	Ground    string              `cbor:"3,keyasint"`
	Reason    string              `cbor:"4,keyasint"`
	System    string              `cbor:"5,keyasint"` // who requested
	By        string              `cbor:"6,keyasint"` // with which credential
	Needed    int                 `cbor:"7,keyasint"`
	Approvals []string            `cbor:"8,keyasint,omitempty"` // credentials that approved
	Keys      map[string]kms.ID   `cbor:"9,keyasint,omitempty"` // slice → key, as of erasing
	Destroys  counts              `cbor:"10,keyasint"`
	At        map[string]stamp    `cbor:"11,keyasint"`           // state → when it was entered
	Pairwise  map[string][16]byte `cbor:"12,keyasint,omitempty"` // system → its id of the person, to answer by
	Own       api.Counts          `cbor:"13,keyasint"`           // what the requesting system may know of Destroys
}

var grounds = []string{"request", "withdrawal", "purpose_reached", "unlawful", "court", "other"}

// RequestErasure asks for the erasure of a person. When nobody has to approve, the person is unreadable when this answers.
func (s *Service) RequestErasure(ctx context.Context, call Call, req *api.ErasureRequest) (*api.Erasure, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Erasure, error) { return s.requestErasure(ctx, call, req) })
}

func (s *Service) requestErasure(ctx context.Context, call Call, req *api.ErasureRequest) (*api.Erasure, error) {
	r := access.Request{Action: access.RequestErasure, Reason: req.Reason}
	if err := checkErasure(req); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Vital)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil && !req.DryRun {
		return nil, err
	}
	var answer *api.Erasure
	err := s.onceIfPossible(ctx, call, access.RequestErasure, func(o *once) (err error) {
		var who *person
		tried := false
		defer func() {
			if tried {
				s.cut(who) // whatever the answer: what seems to have failed may have been written
				s.wake()
			}
		}()
		if e := o.earlier(0); e != nil {
			answer, err = s.requestedBefore(ctx, call, r, e, req.Subject)
			return err
		}
		_, err = s.act(ctx, call, func() (d deed, err error) {
			permit := s.keyring.Permit()
			var own api.Counts
			var needed int
			who, err = s.meet(ctx, call, r, req.Subject, func(rd store.Reader, who *person) (err error) {
				if needed, err = s.approvalsNeeded(rd, call.Principal, who); err != nil {
					return err
				}
				own, err = s.ownCounts(rd, call.Principal, who)
				return err
			})
			if err != nil {
				return d, err
			}
			d = deed{request: r}
			d.request.Subject, d.entry.Kind = who.id.String(), req.Ground
			if d.request.Refusal = unerasable(who.row); d.request.Refusal != nil {
				return d, nil
			}
			if d.entry.Note, err = s.sealNote(ctx, permit, who, req.Note); err != nil {
				return d, err
			}
			if req.DryRun {
				answer = s.wouldErase(call.Principal, who, req, own, needed)
				return d, nil
			}
			d.effect, answer = s.beginErasure(call, who, req, own, needed, o)
			tried = true
			return d, nil
		})
		return err
	})
	return answer, err
}

// requestedBefore answers a retry with the erasure that the first call began, however far it has come.
func (s *Service) requestedBefore(ctx context.Context, call Call, r access.Request, e *done, subject string) (*api.Erasure, error) {
	row, err := s.erasureRow(ctx, e.Object)
	if err != nil {
		return nil, err
	}
	answer := s.erasureWire(call.Principal, e.Object, row)
	if answer.Subject != subject {
		return nil, s.refuse(ctx, call, r, errAnotherCall())
	}
	r.Subject = row.Subject.String()
	d := deed{request: r}
	d.entry.Objects, d.entry.Kind = []string{answer.Erasure}, row.Ground
	_, err = s.act(ctx, call, func() (deed, error) { return d, nil })
	return answer, err
}

func checkErasure(req *api.ErasureRequest) error {
	if err := checkOneOf("ground", req.Ground, grounds...); err != nil {
		return err
	}
	if err := checkCode("reason", req.Reason); err != nil {
		return err
	}
	if req.Scope != nil && (req.Scope.Slices != nil || req.Scope.Fields != nil || req.Scope.Documents != nil) {
		return fault.Bad("scope", "only the whole person can be erased")
	}
	return checkNote(req.Note)
}

// unerasable is what forbids that an erasure of the person begins.
func unerasable(row *subject) *fault.Error {
	switch {
	case row.state != stateActive:
		return fault.New(fault.Erased, "this person is erased")
	case row.Erasure != (ErasureID{}):
		return conflict("subject", "an erasure is waiting already")
	case slices.ContainsFunc(row.Blocks, func(b block) bool { return b.Kind != blockErasure }):
		return fault.New(fault.Blocked, "a block suspends destruction: lift it first")
	default:
		return nil
	}
}

// wouldErase answers a dry run.
func (s *Service) wouldErase(caller access.Principal, who *person, req *api.ErasureRequest, own api.Counts, needed int) *api.Erasure {
	return &api.Erasure{
		Subject: who.name(caller), DryRun: true, Ground: req.Ground, Reason: req.Reason, ApprovalsNeeded: needed,
		State: api.ErasureRequested, WillDestroy: &own, Kept: []api.Kept{},
	}
}

// approvalsNeeded is how many others must approve: as configured, and one at least when a system asks for the erasure of
// somebody whom other systems hold too.
func (s *Service) approvalsNeeded(r store.Reader, caller access.Principal, who *person) (int, error) {
	if caller.VaultWide() {
		return s.Approvals, nil
	}
	holders, err := r.Scan(s.rows.of(kindHolding, who.id), nil, 2)
	if len(holders) > 1 {
		return max(s.Approvals, 1), err
	}
	return s.Approvals, err
}

// ownCounts is what the caller may know that an erasure destroys: everything for vault-wide roles, for a system what it has
// tokens of.
func (s *Service) ownCounts(r store.Reader, caller access.Principal, who *person) (api.Counts, error) {
	if caller.VaultWide() {
		return willDestroy(who.row.Counts, len(who.row.Keys)), nil
	}
	var own api.Counts
	prefix := s.rows.issuedTo(who.id, caller.System)
	err := scanAll(r, prefix, func(p store.Pair) error {
		own.Tokens++
		if bytes.HasPrefix(p.Key[len(prefix):], name(documentsField)) {
			own.Documents++
		} else {
			own.Fields++
		}
		return nil
	})
	return own, err
}

func willDestroy(c counts, keys int) api.Counts {
	return api.Counts{
		Keys: keys, Fields: c.Fields, Documents: c.Documents, Parts: c.Parts, Tokens: c.Tokens, IndexEntries: c.Index,
	}
}

// beginErasure drafts the request, which goes on to erasing at once when nobody has to approve.
func (s *Service) beginErasure(call Call, who *person, req *api.ErasureRequest, own api.Counts, needed int, o *once) (*draft, *api.Erasure) {
	erasure := ErasureID(id.New())
	row := &erasureRow{
		Subject: who.id, State: api.ErasureRequested, Ground: req.Ground, Reason: req.Reason, System: call.Principal.System,
		By: call.Principal.Credential, Needed: needed, Own: own, Destroys: who.row.Counts, Keys: who.row.Keys,
		At: map[string]stamp{string(api.ErasureRequested): stampOf(s.Clock())},
	}
	if who.holding != nil {
		row.Pairwise = map[string][16]byte{call.Principal.System: who.holding.Pairwise}
	}
	if call.Principal.VaultWide() {
		row.Own = api.Counts{} // nothing for a system of the same name to be told
	}
	if row.Needed == 0 {
		row.State, row.At[string(api.ErasureErasing)] = api.ErasureErasing, stampOf(s.Clock())
	}
	c := s.lateChange(who, func(w store.Writer, inside *change) error {
		now, err := s.approvalsNeeded(w, call.Principal, who)
		if err != nil {
			return err
		}
		if now != needed {
			return errStale // somebody else has come to hold the person
		}
		inside.row.Erasure = erasure
		inside.decided()
		if row.Needed > 0 {
			inside.row.Blocks = append(inside.row.Blocks, block{blockErasure, req.Reason, stampOf(s.Clock()), call.Principal.System})
			return w.Set(s.rows.erasure(erasure), encodeRow(row))
		}
		return s.enterErasing(w, inside, erasure, *row)
	})
	o.keep(&c.draft, 0, done{Subject: who.id, Object: erasure})
	return &c.draft, s.erasureWire(call.Principal, erasure, row)
}

// enterErasing writes the step from which the person is unreadable and unfindable, inside the Update. Records and documents
// are left to be removed after the keys, so the step costs the same however much there is.
func (s *Service) enterErasing(w store.Writer, c *change, id ErasureID, row erasureRow) error {
	row.State = api.ErasureErasing
	row.Keys, row.Destroys = c.row.Keys, c.row.Counts
	c.row.state = stateErasing
	c.row.Blocks = nil
	c.decided()
	c.set(s.rows.open(id), nil)
	c.set(s.rows.erasure(id), encodeRow(row))
	return s.unindexAll(w, c)
}

// Erasure shows how far an erasure has come.
func (s *Service) Erasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Erasure, error) { return s.showErasure(ctx, call, erasure) })
}

func (s *Service) showErasure(ctx context.Context, call Call, erasure string) (*api.Erasure, error) {
	r := access.Request{Action: access.ShowErasure}
	ctx = store.With(ctx, store.Reading)
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	id, row, who, err := s.meetErasure(ctx, call, r, erasure)
	if err != nil {
		return nil, err
	}
	d := deed{request: r}
	d.request.Subject, d.entry.Objects = who.id.String(), []string{id.String()}
	outcomes, err := s.perform(ctx, call, d)
	if err != nil {
		return nil, err
	}
	if outcomes[0].err != nil {
		return nil, outcomes[0].err
	}
	return s.erasureWire(call.Principal, id, row), nil
}

// meetErasure reads an erasure for a caller: the system that requested it, or a vault-wide role.
func (s *Service) meetErasure(ctx context.Context, call Call, r access.Request, text string) (id ErasureID, row *erasureRow, who *person, err error) {
	nothing := fault.New(fault.NotFound, "there is no such erasure")
	raw, err := parseID(erasurePrefix, text)
	if err != nil {
		return id, nil, nil, s.refuse(ctx, call, r, nothing)
	}
	id = ErasureID(raw)
	err = s.Store.View(ctx, func(rd store.Reader) (err error) {
		if row, err = getRow[erasureRow](rd, s.rows.erasure(id)); err != nil || row == nil {
			return err
		}
		if who, err = s.load(rd, row.Subject, call.Principal.System); err != nil || who == nil {
			return err
		}
		sees := row.System == call.Principal.System
		if !sees {
			sees, err = s.sees(rd, call.Principal, who)
		}
		if !sees {
			who = nil
		}
		return err
	})
	if err != nil {
		return id, nil, nil, err
	}
	if row == nil || who == nil || row.System != call.Principal.System && !call.Principal.VaultWide() {
		return id, nil, nil, s.refuse(ctx, call, r, nothing)
	}
	return id, row, who, nil
}

func (s *Service) erasureRow(ctx context.Context, id ErasureID) (row *erasureRow, err error) {
	err = s.Store.View(ctx, func(r store.Reader) error {
		row, err = getRow[erasureRow](r, s.rows.erasure(id))
		if err == nil && row == nil {
			err = fault.New(fault.NotFound, "there is no such erasure")
		}
		return err
	})
	return row, err
}

// erasureWire is an erasure as a caller sees it.
func (s *Service) erasureWire(caller access.Principal, id ErasureID, row *erasureRow) *api.Erasure {
	at := func(state api.ErasureState) api.Time { return row.At[string(state)].time() }
	destroys := willDestroy(row.Destroys, len(row.Keys))
	if !caller.VaultWide() {
		destroys = row.Own
	}
	out := &api.Erasure{
		Erasure: id.String(), State: row.State, Ground: row.Ground, Reason: row.Reason,
		ApprovalsNeeded: max(row.Needed-len(row.Approvals), 0), WillDestroy: &destroys,
		Kept: []api.Kept{}, RequestedAt: at(api.ErasureRequested), ErasingAt: at(api.ErasureErasing),
		KeyDestroyedAt: at(api.ErasureKeyDestroyed), ErasedAt: at(api.ErasureErased),
	}
	if pairwise, ok := row.Pairwise[caller.System]; ok && !caller.VaultWide() {
		out.Subject = PairwiseID(pairwise).String()
	} else if caller.VaultWide() {
		out.Subject = row.Subject.String()
	}
	return out
}
