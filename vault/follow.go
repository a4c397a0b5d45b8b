package vault

import (
	"errors"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// follow finds out what each token stands for and whether state and purpose allow it to be read.
func (s *Service) follow(r store.Reader, call Call, u use, open []*shown) error {
	keys := make([][]byte, 0, len(open))
	for _, sh := range open {
		*sh = shown{result: sh.result, at: sh.at}
		t, _, err := token.Parse(sh.result.Token)
		if err != nil {
			sh.refusal = mistyped()
			t = "" // no row has this key; every token costs the same
		}
		sh.token = t
		keys = append(keys, s.rows.token(t))
	}
	rows, err := r.Get(keys...)
	if err != nil {
		return err
	}
	var alive []*shown
	for i, sh := range open {
		if err := s.stand(sh, rows[i], call.Principal, u); err != nil {
			return err
		}
		if sh.row != nil && sh.field != nil {
			alive = append(alive, sh)
		}
	}
	return s.loadShown(r, u, alive)
}

// loadShown reads the people and the records, each person once.
func (s *Service) loadShown(r store.Reader, u use, alive []*shown) error {
	if len(alive) == 0 {
		return nil
	}
	keys := make([][]byte, len(alive), 2*len(alive))
	people := make(map[SubjectID]int, len(alive)) // place in keys
	for i, sh := range alive {
		keys[i] = s.rows.record(sh.row.Subject, sh.row.Field, sh.row.Slot)
		if _, ok := people[sh.row.Subject]; !ok {
			people[sh.row.Subject] = len(alive) + len(people)
		}
	}
	keys = keys[:len(alive)+len(people)]
	for id, at := range people {
		keys[at] = s.rows.subject(id)
	}
	rows, err := r.Get(keys...)
	if err != nil {
		return err
	}
	standings := make(map[SubjectID]*standing, len(people))
	for id, at := range people {
		if rows[at] == nil {
			return errors.New("a token in the store names nobody")
		}
		if standings[id], err = s.standing(r, u, id, rows[at]); err != nil {
			return err
		}
	}
	for i, sh := range alive {
		if err := sh.load(standings[sh.row.Subject], rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// standing is what a reading needs to know of a person: the status, and what a use of their data for a purpose rests on.
type standing struct {
	status
	footing
	refusal *fault.Error
	slices  *subjectRow // which of them are being erased; nil when none is
}

// standing reads it from the beginning of a person's row, and no more of the row unless slices of the person
// are being erased.
func (s *Service) standing(r store.Reader, u use, id SubjectID, raw []byte) (*standing, error) {
	st, err := decodeStatus(raw)
	if err != nil {
		return nil, err
	}
	who := &standing{status: st, refusal: st.refusal()}
	if who.refusal != nil {
		return who, nil
	}
	bases, rest, err := decodeBases(raw[statusSize:])
	if err != nil {
		return nil, err
	}
	if st.fading {
		if who.slices, err = decodeRow[subjectRow](rest); err != nil {
			return nil, err
		}
	}
	if who.footing, who.refusal = s.footing(u.Purpose, bases); who.refusal == nil {
		who.refusal, err = s.consented(r, u, id, bases)
	}
	return who, err
}

func mistyped() *fault.Error {
	return fault.New(fault.NotFound, "this is not a token: it is mistyped")
}

func errNoToken() *fault.Error {
	return fault.New(fault.NotFound, "there is no such token for this system")
}

// stand reads what a token stands for to the caller.
func (s *Service) stand(sh *shown, raw []byte, caller access.Principal, u use) error {
	if raw == nil {
		if sh.refusal == nil {
			sh.refusal = errNoToken()
		}
		_, err := decodeRow[tokenRow](likeToken) // to take as long as for another's
		return err
	}
	row, err := decodeRow[tokenRow](raw)
	if err != nil {
		return err
	}
	sh.behind = row.Subject
	switch field, known := s.Schema.Field(row.Field); {
	case !caller.Reads(row.System):
		sh.refusal = errNoToken()
	case row.Revoked:
		sh.refusal = errNoToken()
	case row.Erased:
		sh.refusal = errSliceErased()
	case row.Field == documentsField:
		sh.row, sh.refusal = row, &fault.Error{
			Code: fault.NotFound, Detail: "this token stands for a document: open it instead",
		}
	case !known:
		sh.row, sh.refusal = row, fault.New(fault.Denied, "the schema does not have this field any more")
	default:
		sh.row, sh.field, sh.refusal = row, field, u.outside(row.Field)
	}
	return nil
}

// load takes in the person and the record. That the purpose does not reach the field stays the refusal of an active person.
func (sh *shown) load(who *standing, recordRaw []byte) error {
	sh.who = who
	if who.refusal != nil {
		sh.refusal = who.refusal
		return nil
	}
	if recordRaw == nil {
		return errors.New("a token in the store names no record")
	}
	row, err := decodeRow[recordRow](recordRaw)
	if err != nil {
		return err
	}
	sh.record = record{sh.row.Slot, row}
	if who.slices != nil && who.slices.fades(row.Key) {
		sh.refusal = errSliceErased()
	}
	return nil
}
