package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// Detokenize turns tokens back into values. Tokens stand alone.
func (s *Service) Detokenize(ctx context.Context, call Call, req *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	resp, err := s.detokenize(ctx, call, req)
	return resp, edge(err)
}

func (s *Service) detokenize(ctx context.Context, call Call, req *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	form, err := formOf(req.Form)
	if err != nil {
		return nil, err
	}
	r, p, err := s.reading(access.Detokenize, req.Purpose, req.Reason, form, req.OnBehalfOf)
	if err != nil {
		return nil, err
	}
	if err := checkItems("tokens", len(req.Tokens)); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	resp := &api.DetokenizeResponse{Results: make([]api.DetokenizeResult, len(req.Tokens))}
	all := make([]shown, len(req.Tokens))
	for i, t := range req.Tokens {
		resp.Results[i].Token = t
		all[i] = shown{result: &resp.Results[i]}
	}
	ctx = store.With(ctx, store.Reading)
	for some := range slices.Chunk(all, chunk) {
		if err := s.detokenizeChunk(ctx, call, r, p, some); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// shown is one token of a detokenize call on its way.
type shown struct {
	result  *api.DetokenizeResult
	row     *tokenRow
	subject *subject // nil when there is nobody to the caller
	field   *schema.Field
	record  record
	refusal *fault.Error
	group   int // which deed it belongs to
}

func (sh *shown) settled() bool { return sh.result.Error != nil || sh.result.Value != nil }

func (sh *shown) fail(err error) {
	*sh.result = api.DetokenizeResult{Token: sh.result.Token, Error: itemError(err)}
}

func (s *Service) detokenizeChunk(ctx context.Context, call Call, r access.Request, p *purpose.Purpose, all []shown) error {
	open := make([]*shown, len(all))
	for i := range all {
		open[i] = &all[i]
	}
	for range maxRounds {
		if err := s.detokenizeRound(ctx, call, r, p, open); err != nil {
			return err
		}
		if open = slices.DeleteFunc(open, (*shown).settled); len(open) == 0 {
			return nil
		}
	}
	for _, sh := range open {
		sh.fail(errContended)
	}
	return nil
}

// detokenizeRound decides on one snapshot, records the decisions, and then shows what was granted and has not changed.
func (s *Service) detokenizeRound(ctx context.Context, call Call, r access.Request, p *purpose.Purpose, open []*shown) error {
	permit := s.keyring.Permit()
	err := s.Store.View(ctx, func(rd store.Reader) error { return s.follow(rd, call, p, open) })
	if err != nil {
		return err
	}
	deeds := s.readingDeeds(r, open)
	outcomes, err := s.perform(ctx, call, deeds...)
	if err != nil {
		return err
	}
	things := make([]wanted, 0, len(open))
	for _, sh := range open {
		switch o := outcomes[sh.group]; {
		case o.stale:
		case sh.refusal != nil:
			sh.fail(sh.refusal)
		case o.err != nil:
			sh.fail(o.err)
		default:
			things = append(things, wanted{o.grant, sh.row.Subject, sh.record.Key})
		}
	}
	keys, err := s.disclose(ctx, permit, access.Detokenize, things)
	if err != nil {
		return err
	}
	defer keys.Close()
	for _, sh := range open {
		if o := outcomes[sh.group]; o.stale || o.err != nil {
			continue
		}
		s.fill(sh, keys, api.Form(r.Form), call.Principal)
	}
	return nil
}

// follow finds out what each token stands for and whether state and purpose allow it to be read.
func (s *Service) follow(r store.Reader, call Call, p *purpose.Purpose, open []*shown) error {
	keys := make([][]byte, 0, len(open))
	for _, sh := range open {
		*sh = shown{result: sh.result}
		t, _, err := token.Parse(sh.result.Token)
		if err != nil {
			sh.refusal = mistyped()
			t = "" // no row has this key; every token costs the same
		}
		keys = append(keys, s.rows.token(t))
	}
	rows, err := r.Get(keys...)
	if err != nil {
		return err
	}
	var alive []*shown
	for i, sh := range open {
		if err := s.stand(sh, rows[i], call.Principal, p); err != nil {
			return err
		}
		if sh.row != nil && sh.field != nil {
			alive = append(alive, sh)
		}
	}
	return s.loadShown(r, alive)
}

// loadShown reads the people and the records, each person once.
func (s *Service) loadShown(r store.Reader, alive []*shown) error {
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
	subjects := make(map[SubjectID]*subject, len(people))
	for id, at := range people {
		if rows[at] == nil {
			return errors.New("a token in the store names nobody")
		}
		if subjects[id], err = decodeSubject(rows[at]); err != nil {
			return err
		}
	}
	for i, sh := range alive {
		if err := sh.load(subjects[sh.row.Subject], rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func mistyped() *fault.Error {
	return fault.New(fault.NotFound, "this is not a token: it is mistyped")
}

func errNoToken() *fault.Error {
	return fault.New(fault.NotFound, "there is no such token for this system")
}

// stand reads what a token stands for to the caller.
func (s *Service) stand(sh *shown, raw []byte, caller access.Principal, p *purpose.Purpose) error {
	if raw == nil {
		if sh.refusal == nil {
			sh.refusal = errNoToken()
		}
		return nil
	}
	row, err := decodeRow[tokenRow](raw)
	if err != nil {
		return err
	}
	switch field, known := s.Schema.Field(row.Field); {
	case row.System != caller.System && !caller.Role.VaultWide():
		sh.refusal = errNoToken()
	case row.Erased:
		sh.refusal = fault.New(fault.Erased, "this person is erased")
	case row.Field == documentsField:
		sh.row, sh.refusal = row, &fault.Error{
			Code: fault.NotFound, Detail: "this token stands for a document: open it instead",
		}
	case !known:
		sh.row, sh.refusal = row, fault.New(fault.Denied, "the schema does not have this field any more")
	case !p.Allows(row.Field):
		sh.row, sh.field = row, field
		sh.refusal = &fault.Error{
			Code: fault.Denied, Detail: "the purpose does not need this",
			Fields: []fault.Field{{Field: row.Field, Rule: rulePurpose}},
		}
	default:
		sh.row, sh.field = row, field
	}
	return nil
}

// load takes in the person and the record.
func (sh *shown) load(who *subject, recordRaw []byte) error {
	sh.subject = who
	if refusal := sh.subject.refusal(); refusal != nil {
		sh.refusal = refusal
		return nil
	}
	if recordRaw == nil {
		return errors.New("a token in the store names no record")
	}
	row, err := decodeRow[recordRow](recordRaw)
	sh.record = record{sh.row.Slot, row}
	return err
}

// readingDeeds makes one deed for each person and verdict.
func (s *Service) readingDeeds(r access.Request, open []*shown) []deed {
	type group struct {
		subject SubjectID
		code    fault.Code
	}
	var deeds []deed
	groups := make(map[group]int, len(open))
	for _, sh := range open {
		g := group{code: ""}
		if sh.refusal != nil {
			g.code = sh.refusal.Code
		}
		if sh.row != nil {
			g.subject = sh.row.Subject
		}
		at, ok := groups[g]
		if !ok {
			at = len(deeds)
			groups[g] = at
			deeds = append(deeds, s.readingDeed(r, sh))
		}
		sh.group = at
		d := &deeds[at]
		d.entry.Items++
		if sh.field != nil && !slices.Contains(d.request.Fields, sh.field.Name) {
			d.request.Fields = append(d.request.Fields, sh.field.Name)
		}
	}
	return deeds
}

func (s *Service) readingDeed(r access.Request, sh *shown) deed {
	d := deed{request: r}
	d.request.Refusal = sh.refusal
	if sh.row != nil {
		d.request.Subject = sh.row.Subject.String()
	}
	if sh.refusal == nil {
		d.effect = &draft{}
		d.effect.expectPrefix(s.rows.subject(sh.row.Subject), sh.subject.standing())
	}
	return d
}

// fill gives a token its value.
func (s *Service) fill(sh *shown, keys *disclosed, asked api.Form, caller access.Principal) {
	form := asked
	if asked == api.Allowed {
		form = api.Plain // roles permit both forms or none
	}
	v, err := s.show(keys, reading{sh.row.Subject, sh.field, sh.record, form})
	if err != nil {
		sh.fail(err)
		return
	}
	sh.result.Field, sh.result.Value = sh.row.Field, &v
	sh.result.Subject = sh.row.Pairwise.String()
	if caller.Role.VaultWide() {
		sh.result.Subject = sh.row.Subject.String()
	}
	if asked == api.Allowed {
		sh.result.Form = form
	}
}
