package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/store"
)

// state is where a person stands. The numbers are in the store.
type state byte

const (
	stateActive  state = 1
	stateErasing state = 2 // unreadable; the keys are about to be destroyed
	stateErased  state = 3
)

// subject is a person's row. It begins with the status, so that a reading can expect just that to stand, and with what the
// person consented to, which changes with the status only.
type subject struct {
	status
	bases []basis
	subjectRow
}

// status is what every use of a person's data depends on.
type status struct {
	state  state
	epoch  uint64 // grows with every change that a decision rests on
	blocks uint8  // how many stand, as far as it can count
	fading bool   // slices of the person are being erased: see subjectRow.Fading
}

// subjectRow is what follows the status.
type subjectRow struct {
	Revision uint64            `cbor:"1,keyasint"` // grows with every write to anything of the person
	Created  stamp             `cbor:"2,keyasint"`
	Keys     map[string]kms.ID `cbor:"3,keyasint,omitempty"` // slice → key
	Blocks   []block           `cbor:"4,keyasint,omitempty"`
	Erasure  ErasureID         `cbor:"5,keyasint"` // the one that is under way or done
	Counts   counts            `cbor:"6,keyasint"`
	Purposes []string          `cbor:"7,keyasint,omitempty"` // for which data was collected
	Fading   map[string]kms.ID `cbor:"9,keyasint,omitempty"` // slice → key, of slices that are being erased; see erase_slices.go

	Sealed map[string]goneRow   `cbor:"10,keyasint,omitempty"` // slice → what its key seals
	Issued map[string]issuedRow `cbor:"11,keyasint,omitempty"` // system → its tokens

	// Former is, for a slice, what its key was at providers that were left (see Rekeying), sealed under what it is now: the latest first, one
	// after another. It opens what was written then and cannot be written anew: documents' files, and notes in signed entries.
	Former map[string][]byte `cbor:"12,keyasint,omitempty"`
}

// counts says how much is held, so that an erasure need not count.
type counts struct {
	Fields    int `cbor:"1,keyasint,omitempty"`
	Documents int `cbor:"2,keyasint,omitempty"`
	Parts     int `cbor:"3,keyasint,omitempty"`
	Tokens    int `cbor:"4,keyasint,omitempty"`
	Index     int `cbor:"5,keyasint,omitempty"`
	Consents  int `cbor:"6,keyasint,omitempty"`
}

// block is why processing is stopped.
type block struct {
	Kind   string `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint"`
	Since  stamp  `cbor:"3,keyasint"`
	System string `cbor:"4,keyasint"` // who placed it
}

const (
	statusSize = 1 + 8 + 1 // bytes of state, epoch and number of blocks
	fadingBit  = 0x80      // of the byte of the state
)

// encode is the beginning of a person's row.
func (s status) encode() []byte {
	first := byte(s.state)
	if s.fading {
		first |= fadingBit
	}
	b := append(make([]byte, 0, statusSize), first)
	return append(binary.BigEndian.AppendUint64(b, s.epoch), s.blocks)
}

func decodeStatus(b []byte) (status, error) {
	if len(b) < statusSize || b[0] == 0 {
		return status{}, errors.New("a subject in the store is damaged")
	}
	return status{state(b[0] &^ fadingBit), binary.BigEndian.Uint64(b[1:]), b[statusSize-1], b[0]&fadingBit != 0}, nil
}

func (s *subject) encode() []byte {
	s.blocks, s.fading = uint8(min(len(s.Blocks), math.MaxUint8)), len(s.Fading) > 0
	return append(encodeBases(s.status.encode(), s.bases), encodeRow(s.subjectRow)...)
}

func decodeSubject(b []byte) (*subject, error) {
	st, err := decodeStatus(b)
	if err != nil {
		return nil, err
	}
	bases, rest, err := decodeBases(b[statusSize:])
	if err != nil {
		return nil, err
	}
	row, err := decodeRow[subjectRow](rest)
	if err != nil {
		return nil, err
	}
	return &subject{st, bases, *row}, nil
}

// refusal is what forbids any use of the person's data, or nil.
func (s status) refusal() *fault.Error {
	switch {
	case s.state != stateActive:
		return fault.New(fault.Erased, "this person is erased")
	case s.blocks > 0:
		return fault.New(fault.Blocked, "processing of this person is stopped")
	default:
		return nil
	}
}

// wire is the state as callers know it.
func (s status) wire() api.SubjectState {
	switch {
	case s.state == stateErasing:
		return api.StateErasing
	case s.state == stateErased:
		return api.StateErased
	case s.blocks > 0:
		return api.StateBlocked
	default:
		return api.StateActive
	}
}

// person is a subject as one snapshot showed it to one caller.
type person struct {
	id      SubjectID
	row     *subject // never changed; see changed
	raw     []byte   // the row as read; nil for a person who is to be created
	holding *holdingRow
}

// holdingRow is that a system holds a person, under this id of its own.
type holdingRow struct {
	Pairwise PairwiseID `cbor:"1,keyasint"`
	Since    stamp      `cbor:"2,keyasint"`
	Ref      []byte     `cbor:"3,keyasint,omitempty"` // the system's own key for the person, sealed
	Purposes []string   `cbor:"5,keyasint,omitempty"` // for which this system collected
}

// pairwiseRow finds the person by the id that a system uses. Of an erased person only the system remains.
type pairwiseRow struct {
	System  string    `cbor:"1,keyasint"`
	Subject SubjectID `cbor:"2,keyasint,omitempty"`
	Erased  bool      `cbor:"3,keyasint,omitempty"`
}

// likePairwise is such a row as there could be, for seekRow.
var likePairwise = encodeRow(pairwiseRow{System: "crm", Subject: SubjectID{1}})

// load reads a person with what the system holds of them; nil when there is none.
func (s *Service) load(r store.Reader, subjectID SubjectID, system string) (*person, error) {
	rows, err := r.Get(s.rows.subject(subjectID), s.rows.holding(subjectID, system))
	if err != nil || rows[0] == nil {
		return nil, err
	}
	p := &person{id: subjectID, raw: bytes.Clone(rows[0])}
	if p.row, err = decodeSubject(rows[0]); err != nil {
		return nil, err
	}
	if rows[1] != nil {
		if p.holding, err = decodeRow[holdingRow](rows[1]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// errNobody is what anybody is told of a person they may not know of.
func errNobody() *fault.Error { return fault.New(fault.NotFound, "there is nobody under this id") }

// resolve finds the person whom a caller means by an id: the vault-wide one for those who see it, the system's own for
// the others. Erased people are found too; the caller looks at the state.
func (s *Service) resolve(r store.Reader, p access.Principal, text string) (*person, error) {
	raw, err := parseID(subjectPrefix, text)
	if err != nil {
		return nil, errNobody()
	}
	subjectID := SubjectID(raw)
	if !p.VaultWide() {
		link, err := seekRow[pairwiseRow](r, s.rows.pairwise(PairwiseID(raw)), likePairwise)
		switch {
		case err != nil:
			return nil, err
		case link == nil || link.System != p.System:
			return nil, errNobody()
		case link.Erased:
			return nil, fault.New(fault.Erased, "this person is erased")
		}
		subjectID = link.Subject
	}
	found, err := s.load(r, subjectID, p.System)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errNobody()
	}
	sees, err := s.sees(r, p, found)
	if err != nil {
		return nil, err
	}
	if !sees {
		return nil, errNobody()
	}
	return found, nil
}

// sees reports whether a principal may know of a person: who is held by a system whose people it may see.
func (s *Service) sees(r store.Reader, p access.Principal, who *person) (bool, error) {
	if who.holding != nil || p.VaultWide() && p.AllSystems {
		return true, nil
	}
	if !p.VaultWide() || len(p.Systems) == 0 {
		return false, nil
	}
	keys := make([][]byte, len(p.Systems))
	for i, system := range p.Systems {
		keys[i] = s.rows.holding(who.id, system)
	}
	rows, err := r.Get(keys...)
	return slices.ContainsFunc(rows, func(row []byte) bool { return row != nil }), err
}

// readable tells of which of a person's values and documents a principal may know: those of which it, or a system whose
// tokens it may open, has a token. The key is what follows the system in the key of an issued row; all is set when there
// is no bound.
func (s *Service) readable(r store.Reader, p access.Principal, id SubjectID) (of map[string]bool, all bool, err error) {
	if p.VaultWide() && p.AllSystems {
		return nil, true, nil
	}
	systems := []string{p.System}
	if p.VaultWide() {
		systems = append(systems, p.Systems...)
	}
	of = map[string]bool{}
	for _, system := range systems {
		prefix := s.rows.issuedTo(id, system)
		err := scanAll(r, prefix, func(p store.Pair) error {
			of[string(p.Key[len(prefix):])] = true
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	return of, false, nil
}

// name is what the caller calls the person: nothing, when a system does not hold them.
func (p *person) name(caller access.Principal) string {
	switch {
	case caller.VaultWide():
		return p.id.String()
	case p.holding == nil:
		return ""
	default:
		return p.holding.Pairwise.String()
	}
}

// change is a draft of changes to one person: it expects that nothing of the person was written since they were loaded,
// and writes the row with the next revision last of all, when done is called.
type change struct {
	draft
	id  SubjectID
	row subject // the row as it will be
}

// changed begins a change to a person.
func (s *Service) changed(p *person) *change {
	c := &change{id: p.id, row: *p.row}
	c.row.Blocks, c.row.bases = slices.Clone(p.row.Blocks), slices.Clone(p.row.bases)
	c.row.Purposes = slices.Clone(p.row.Purposes)
	c.row.Sealed, c.row.Issued = maps.Clone(p.row.Sealed), maps.Clone(p.row.Issued)
	c.row.Keys = make(map[string]kms.ID, len(p.row.Keys)+1)
	for slice, k := range p.row.Keys {
		c.row.Keys[slice] = k
	}
	c.row.Revision++
	c.expect(s.rows.subject(p.id), p.raw)
	return c
}

// decided notes that what decisions rest on has changed: whoever decided before must decide again.
func (c *change) decided() { c.row.epoch++ }

// lateChange changes the person's row inside the Update, as it stands there, so it loses to no other writer: only what
// decisions rest on must be as it was. f may run more than once.
func (s *Service) lateChange(p *person, f func(store.Writer, *change) error) *change {
	c := &change{id: p.id}
	c.expectPrefix(s.rows.subject(p.id), p.row.status.encode())
	c.late = func(w store.Writer) error {
		now, err := s.load(w, p.id, "")
		if err != nil {
			return err
		}
		inside := s.changed(now)
		if err := f(w, inside); err != nil {
			return err
		}
		return s.done(inside).write(w)
	}
	return c
}

// done finishes the draft.
func (s *Service) done(c *change) *draft {
	c.set(s.rows.subject(c.id), c.row.encode())
	return &c.draft
}

// hold has the change make the calling system a holder of the person.
func (s *Service) hold(c *change, p *person, system string) {
	p.holding = &holdingRow{Pairwise: PairwiseID(id.New()), Since: stampOf(s.Clock())}
	c.set(s.rows.pairwise(p.holding.Pairwise), encodeRow(pairwiseRow{System: system, Subject: p.id}))
}

// setHolding has the change write what the system holds of the person.
func (s *Service) setHolding(c *change, p *person, system string) {
	c.set(s.rows.holding(p.id, system), encodeRow(p.holding))
}

// collected notes for which purpose a system brought data.
func collected(c *change, h *holdingRow, purpose string) {
	if !slices.Contains(c.row.Purposes, purpose) {
		c.row.Purposes = append(c.row.Purposes, purpose)
	}
	if !slices.Contains(h.Purposes, purpose) {
		h.Purposes = append(slices.Clone(h.Purposes), purpose)
	}
}

// stranger is a person who is not there yet.
func (s *Service) stranger() *person {
	return &person{id: SubjectID(id.New()), row: &subject{
		status: status{state: stateActive, epoch: 1}, subjectRow: subjectRow{Created: stampOf(s.Clock())},
	}}
}
