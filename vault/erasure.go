package vault

import (
	"context"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit"
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
// requested waits for approvals, under a block of its own, and is cancelled when they do not come in time. The Update that enters erasing takes the person out of the
// index and makes them unreadable; the keys it lists are then destroyed, verified gone, and only then is key_destroyed
// written; then rows and blobs go.
type erasureRow struct {
	Subject  SubjectID           `cbor:"1,keyasint"`
	State    api.ErasureState    `cbor:"2,keyasint"`
	Ground   string              `cbor:"3,keyasint"`
	Reason   string              `cbor:"4,keyasint"`
	Ballot   ballot              `cbor:"5,keyasint"`            // who requested, and who has agreed
	Keys     map[string]kms.ID   `cbor:"6,keyasint,omitempty"`  // slice → key, as of erasing
	Destroys counts              `cbor:"7,keyasint"`            // as counted at the request, then as of erasing
	At       map[string]stamp    `cbor:"8,keyasint"`            // state → when it was entered; and stampRemoved
	Pairwise map[string][16]byte `cbor:"9,keyasint,omitempty"`  // system → its id of the person, to answer by
	Own      api.Counts          `cbor:"10,keyasint"`           // what the requesting system may know of Destroys
	Proofs   keptProofs          `cbor:"11,keyasint"`           // what stays of the person's consents
	Gone     map[string]goneRow  `cbor:"12,keyasint,omitempty"` // slice → what its key seals, as of erasing
	Logged   map[string]audit.ID `cbor:"13,keyasint,omitempty"` // what At has, from key_destroyed on → its entry in the log
	Slices   []string            `cbor:"14,keyasint,omitempty"` // sorted; none: the whole person
}

// likeErasure is such a row as there could be, for seekRow.
var likeErasure = encodeRow(erasureRow{
	Subject: SubjectID{1}, State: api.ErasureRequested, Ground: "request", Reason: "person_asked",
	Ballot: ballot{Needed: 1, By: "cred_22sb5s16cw0ppqzpn4es9hb1kn", System: "crm", Digest: make([]byte, 32), Until: 1 << 40},
	Keys:   map[string]kms.ID{"identity": {1}, "documents": {2}}, Destroys: counts{Fields: 5, Documents: 1, Parts: 1, Tokens: 6},
	At: map[string]stamp{string(api.ErasureRequested): 1 << 40}, Pairwise: map[string][16]byte{"crm": {1}},
	Own: api.Counts{Fields: 5, Documents: 1, Tokens: 6},
})

var grounds = []string{"request", "withdrawal", "purpose_reached", "unlawful", "court", "other"}

// RequestErasure asks for the erasure of a person. When nobody has to approve, the person is unreadable when this answers.
func (s *Service) RequestErasure(ctx context.Context, call Call, req *api.ErasureRequest) (*api.Erasure, error) {
	return underRules(ctx, s, call, func(call Call) (*api.Erasure, error) { return s.requestErasure(ctx, call, req) })
}

func (s *Service) requestErasure(ctx context.Context, call Call, req *api.ErasureRequest) (*api.Erasure, error) {
	r := access.Request{Action: access.RequestErasure, Reason: req.Reason}
	if err := s.checkErasure(req); err != nil {
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
		var begun begunErasure
		tried := false
		defer func() {
			if tried {
				// Whatever the answer: what seems to have failed may have been written.
				if begun.row.Slices == nil || begun.row.State == api.ErasureRequested {
					if told := s.cut(ctx, who); err == nil {
						err = told
					}
				} else {
					if told := s.cutSlices(ctx, who, begun.row.Slices); err == nil {
						err = told
					}
				}
				s.wake()
			}
		}()
		if e := o.earlier(0); e != nil {
			answer, err = s.requestedBefore(ctx, call, r, e, req.Subject)
			return err
		}
		_, err = s.act(ctx, call, func() (d deed, err error) {
			permit := s.keyring.Permit()
			goes := erasureRow{Slices: slicesOf(req.Scope)}
			var asked Approval
			who, err = s.meet(ctx, call, r, req.Subject, func(rd store.Reader, who *person) (err error) {
				if asked, err = s.erasureApproval(rd, call.Principal, who); err != nil {
					return err
				}
				return s.foresee(rd, call.Principal, who, &goes)
			})
			if err != nil {
				return d, err
			}
			d = deed{request: r}
			d.request.Subject, d.entry.Kind = who.id.String(), req.Ground
			if d.request.Refusal = unerasable(who.row, goes.Slices...); d.request.Refusal != nil {
				return d, nil
			}
			if d.entry.Note, err = s.sealNote(ctx, permit, who, req.Note); err != nil {
				return d, err
			}
			if req.DryRun {
				answer = s.wouldErase(call.Principal, who, req, &goes, asked.Needed)
				return d, nil
			}
			begun = s.beginErasure(call, who, req, goes, asked, o)
			d.effect, answer = begun.draft, s.erasureWire(call.Principal, begun.id, begun.row)
			d.entry.Objects, d.entry.Digest = begun.row.objects(begun.id), begun.row.Ballot.digest()
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
	if err := s.tellOf(ctx, row); err != nil {
		return nil, err
	}
	r.Subject = row.Subject.String()
	d := deed{request: r}
	d.entry.Objects, d.entry.Kind = row.objects(e.Object), row.Ground
	_, err = s.act(ctx, call, func() (deed, error) { return d, nil })
	return answer, err
}

// tellOf tells the other nodes of an erasure that another call began: it may not have come to telling them.
func (s *Service) tellOf(ctx context.Context, row *erasureRow) error {
	if row.State != api.ErasureRequested && row.State != api.ErasureErasing {
		return nil // nothing holds any more, or all have heard
	}
	notice := row.notice()
	notice.Streams = notice.Streams || row.State == api.ErasureRequested // the person is blocked
	return s.tell(context.WithoutCancel(ctx), notice)
}

func (s *Service) checkErasure(req *api.ErasureRequest) error {
	if err := checkOneOf("ground", req.Ground, grounds...); err != nil {
		return err
	}
	if err := checkCode("reason", req.Reason); err != nil {
		return err
	}
	if err := s.checkScope(req.Scope); err != nil {
		return err
	}
	return checkNote(req.Note)
}

// unerasable is what forbids that an erasure of the person, or of slices, begins.
func unerasable(row *subject, names ...string) *fault.Error {
	switch {
	case row.state != stateActive:
		return fault.New(fault.Erased, "this person is erased")
	case row.Erasure != (ErasureID{}):
		return conflict("subject", "an erasure is waiting already")
	case slices.ContainsFunc(names, row.fadesSlice):
		return conflict("scope", "it is being erased already")
	case slices.ContainsFunc(row.Blocks, func(b block) bool { return b.Kind != blockErasure }):
		return fault.New(fault.Blocked, "a block suspends destruction: lift it first")
	default:
		return nil
	}
}

// wouldErase answers a dry run.
func (s *Service) wouldErase(caller access.Principal, who *person, req *api.ErasureRequest, goes *erasureRow, needed int) *api.Erasure {
	return &api.Erasure{
		Subject: who.name(caller), DryRun: true, Ground: req.Ground, Reason: req.Reason, ApprovalsNeeded: needed,
		State: api.ErasureRequested, WillDestroy: &goes.Own, Kept: goes.Proofs.wire(caller), Scope: goes.scope(),
	}
}

// foresee fills in what an erasure of the person, or of the slices it names, would destroy and what would stay.
func (s *Service) foresee(r store.Reader, caller access.Principal, who *person, goes *erasureRow) (err error) {
	if goes.Slices != nil {
		goes.Keys = who.row.keysOf(goes.Slices)
		d, err := s.doom(r, who.id, goes.Keys)
		if err != nil {
			return err
		}
		goes.Destroys, goes.Own = d.counts, d.shown(caller)
		return nil
	}
	goes.Keys, goes.Destroys = who.row.everyKey(), who.row.Counts
	if goes.Proofs, err = s.keptProofs(r, caller, who.id); err != nil {
		return err
	}
	if goes.Own = who.row.Issued[caller.System].counts(); caller.VaultWide() {
		goes.Own = willDestroy(who.row.Counts, len(who.row.Keys))
	}
	return nil
}

func willDestroy(c counts, keys int) api.Counts {
	return api.Counts{
		Keys: keys, Fields: c.Fields, Documents: c.Documents, Parts: c.Parts, Tokens: c.Tokens, IndexEntries: c.Index,
	}
}

// begunErasure is an erasure that is requested when the draft is written.
type begunErasure struct {
	draft *draft
	id    ErasureID
	row   *erasureRow
}

// beginErasure drafts the request, which goes on to erasing at once when nobody has to approve.
func (s *Service) beginErasure(call Call, who *person, req *api.ErasureRequest, goes erasureRow, asked Approval, o *once) begunErasure {
	erasure := ErasureID(id.New())
	row := &goes
	row.Subject, row.State, row.Ground, row.Reason = who.id, api.ErasureRequested, req.Ground, req.Reason
	row.At = map[string]stamp{string(api.ErasureRequested): stampOf(s.Clock())}
	row.Ballot = s.newBallot(call.Principal, asked, row.digest(erasure))
	if who.holding != nil {
		row.Pairwise = map[string][16]byte{call.Principal.System: who.holding.Pairwise}
	}
	if call.Principal.VaultWide() {
		row.Own = api.Counts{} // nothing for a system of the same name to be told
	}
	if asked.Needed == 0 {
		row.State, row.At[string(api.ErasureErasing)] = api.ErasureErasing, stampOf(s.Clock())
	}
	c := s.lateChange(who, func(w store.Writer, inside *change) error {
		now, err := s.erasureApproval(w, call.Principal, who)
		if err != nil {
			return err
		}
		if now.Needed != asked.Needed {
			return errStale // somebody else has come to hold the person
		}
		inside.row.Erasure = erasure
		inside.decided()
		if asked.Needed == 0 {
			return s.enterErasing(w, inside, erasure, *row)
		}
		inside.row.Blocks = append(inside.row.Blocks, block{blockErasure, req.Reason, stampOf(s.Clock()), call.Principal.System})
		inside.set(s.rows.waiting(waitingErasure, erasure), nil)
		inside.set(s.rows.erasure(erasure), encodeRow(row))
		return nil
	})
	o.keep(&c.draft, 0, done{Subject: who.id, Object: erasure})
	return begunErasure{&c.draft, erasure, row}
}

// enterErasing writes the step from which the person is unreadable and unfindable, inside the Update. Records and documents
// are left to be removed after the keys, so the step costs the same however much there is.
func (s *Service) enterErasing(w store.Writer, c *change, id ErasureID, row erasureRow) error {
	row.State = api.ErasureErasing
	row.At[string(api.ErasureErasing)] = max(row.At[string(api.ErasureErasing)], row.At[string(api.ErasureRequested)])
	if row.Slices != nil {
		return s.enterErasingSlices(w, c, id, row)
	}
	row.Keys, row.Destroys = c.row.everyKey(), c.row.Counts
	row.Gone = c.row.sealedUnder(row.Keys)
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
		row, err = seekRow[erasureRow](rd, s.rows.erasure(id), likeErasure)
		if err != nil || row == nil || row.Ballot.System != call.Principal.System && !call.Principal.VaultWide() {
			return err // another's takes no longer than none
		}
		if who, err = s.load(rd, row.Subject, call.Principal.System); err != nil || who == nil {
			return err
		}
		sees := row.Ballot.System == call.Principal.System
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
	if who == nil {
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
		ApprovalsNeeded: row.Ballot.missing(), WillDestroy: &destroys,
		Kept: row.Proofs.wire(caller), RequestedAt: at(api.ErasureRequested), ErasingAt: at(api.ErasureErasing),
		KeyDestroyedAt: at(api.ErasureKeyDestroyed), ErasedAt: at(api.ErasureErased),
		RemovedAt: at(stampRemoved),
	}
	if pairwise, ok := row.Pairwise[caller.System]; ok && !caller.VaultWide() {
		out.Subject = PairwiseID(pairwise).String()
	} else if caller.VaultWide() {
		out.Subject = row.Subject.String()
		out.Digest, out.Approvals = row.Ballot.digest(), row.Ballot.wire()
	}
	out.Scope = row.scope()
	if row.State == api.ErasureRequested {
		out.ExpiresAt = row.Ballot.Until.time()
	}
	return out
}
