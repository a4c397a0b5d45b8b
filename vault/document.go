package vault

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/sandyq/sandyq/vault/id"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// documentRow is a document: one or more parts, each a blob.
type documentRow struct {
	Kind  string    `cbor:"1,keyasint"`
	Parts []partRow `cbor:"2,keyasint"`
}

// partRow is one scan: a side or a page.
type partRow struct {
	Blob    blob.ID `cbor:"1,keyasint"`
	Key     kms.ID  `cbor:"2,keyasint"`
	Side    string  `cbor:"3,keyasint,omitempty"`
	Capture string  `cbor:"4,keyasint"`
	Ground  string  `cbor:"5,keyasint,omitempty"` // why a paper copy was made
	Added   stamp   `cbor:"6,keyasint"`
	Meta    []byte  `cbor:"7,keyasint"` // partMeta, sealed
}

// partMeta is what a scan is. It is sealed like a field.
type partMeta struct {
	MediaType string `cbor:"1,keyasint"`
	Size      int64  `cbor:"2,keyasint"`
	SHA256    []byte `cbor:"3,keyasint"`
}

// maxParts is how many parts a document may have.
const maxParts = 100

func partName(d DocumentID, blobID blob.ID) string { return d.String() + "/" + blobID.String() }

func (s *Service) partContext(kind string, who SubjectID, d DocumentID, b blob.ID) envelope.Context {
	return s.rows.partContext(kind, who, d, b)
}

func (s *Service) openMeta(key secret.Bytes, who SubjectID, d DocumentID, row partRow) (partMeta, error) {
	plain, err := envelope.Open(key, s.partContext(sealedMeta, who, d, row.Blob), row.Meta)
	if err != nil {
		return partMeta{}, fmt.Errorf("open what a document is: %w", err)
	}
	meta, err := decodeRow[partMeta](plain)
	if err != nil {
		return partMeta{}, err
	}
	return *meta, nil
}

// OpenDocument permits one caller to read one part of a document for a short time.
func (s *Service) OpenDocument(ctx context.Context, call Call, req *api.OpenDocumentRequest) (*api.OpenDocumentResponse, error) {
	return underRules(ctx, s, call, func(call Call) (*api.OpenDocumentResponse, error) { return s.openDocument(ctx, call, req) })
}

func (s *Service) openDocument(ctx context.Context, call Call, req *api.OpenDocumentRequest) (*api.OpenDocumentResponse, error) {
	r, p, err := s.reading(ctx, call, access.OpenDocument, req.Purpose, req.Reason, "", req.OnBehalfOf)
	if err != nil {
		return nil, err
	}
	u, err := s.useOf(call.rules, &r, p, req.Recipient)
	if err != nil {
		return nil, err
	}
	if err := checkNote(req.Note); err != nil {
		return nil, err
	}
	if req.Part < 0 || req.Part > maxParts {
		return nil, fault.Bad("part", fmt.Sprintf("1 to %d", maxParts))
	}
	r.Fields = []string{documentsField}
	if r.Refusal == nil {
		r.Refusal = u.outside(documentsField)
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	ctx = store.With(ctx, store.Reading)
	o := &opening{part: max(req.Part, 1), name: id.New()}
	var permit permit
	outcome, err := s.act(ctx, call, func() (deed, error) {
		permit = s.keyring.Permit()
		who, against, err := s.locate(ctx, call, r, u, req.Token, o)
		if err != nil {
			return deed{}, err
		}
		d := deed{request: r, effect: &draft{}}
		d.request.Subject, d.entry.Objects, d.entry.Items = who.id.String(), []string{o.document.String()}, 1
		d.dues, d.alerts = []due{{0, budget.Read, string(schema.CategoryDocument)}}, call.rules.canaries.touched(o.token, who.id)
		d.effect.expectPrefix(s.rows.subject(who.id), who.row.status.encode())
		rests, _ := s.footing(p, who.row.bases)
		o.expires = earlier(s.Clock().Add(s.HandleLife), rests.until) // the handle does not outlive the consent that it rests on
		if d.request.Refusal = s.stands(call.rules, &d.request, who.row); d.request.Refusal == nil {
			d.request.Refusal = against
		}
		if d.request.Refusal == nil {
			d.entry.Note, err = s.sealNote(ctx, permit, who, req.Note)
		}
		d.effect.set(s.rows.handle(o.name, call.Principal), encodeRow(handleOf(d.request, req.Recipient, o)))
		s.disclosing(call, &d, who.id, u.to, r.Fields)
		return d, err
	})
	if err != nil {
		return nil, err
	}
	keys, err := s.disclose(ctx, permit, access.OpenDocument, []wanted{{outcome.grant, o.subject, o.row.Key}})
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	key, err := keys.of(o.row.Key)
	if err != nil {
		return nil, err
	}
	meta, err := s.openMeta(key, o.subject, o.document, o.row)
	if err != nil {
		return nil, err
	}
	return &api.OpenDocumentResponse{
		Content: "/v1/content/" + id.Encode(handlePrefix, o.name), ExpiresAt: o.expires.UTC().Truncate(time.Millisecond), Document: o.document.String(), Part: o.part,
		Parts: o.parts, MediaType: meta.MediaType, Size: meta.Size, SHA256: hex.EncodeToString(meta.SHA256),
	}, nil
}

// opening is a part of a document that is being opened.
type opening struct {
	name     [16]byte // of the handle
	part     int      // which is meant, from 1
	parts    int      // that there are
	subject  SubjectID
	status   []byte
	document DocumentID
	token    token.Token
	row      partRow
	expires  time.Time
}

// locate finds the part that a token and a number stand for, fills in the opening, and says what the person's consent says against
// the use.
func (s *Service) locate(ctx context.Context, call Call, r access.Request, u use, text string, o *opening) (who *person, against *fault.Error, err error) {
	var t *tokenAt
	err = s.Store.View(ctx, func(rd store.Reader) (err error) {
		t, err = s.tokenAt(rd, call.Principal, text)
		switch {
		case err != nil:
			return err
		case t.refusal != nil:
			return t.refusal
		case t.row.Field != documentsField:
			return fault.New(fault.NotFound, "this token does not stand for a document")
		}
		row, err := getRow[documentRow](rd, s.rows.document(t.row.Subject, t.row.Document))
		switch {
		case err != nil:
			return err
		case row == nil:
			return errors.New("a token in the store names no document")
		case o.part > len(row.Parts):
			return fault.New(fault.NotFound, "the document does not have this part")
		}
		who = t.person
		o.subject, o.status, o.document = who.id, who.row.status.encode(), t.row.Document
		o.row, o.parts, o.token = row.Parts[o.part-1], len(row.Parts), t.token
		if who.row.fades(o.row.Key) {
			return errSliceErased()
		}
		against, err = s.consented(rd, u, who.id, who.row.bases)
		return err
	})
	if refusal, ok := errors.AsType[*fault.Error](err); ok {
		d := deed{request: r, alerts: call.rules.canaries.touched(t.token, t.behind)}
		d.request.Refusal = refusal
		if t.missed() {
			d.dues = []due{{0, budget.Search, ""}}
		}
		return nil, nil, s.refuseDeed(ctx, call, d)
	}
	return who, against, err
}

// Content gives the bytes that a handle permits its caller to read. The person must stand as when it was permitted, and the
// rules must permit it still.
func (s *Service) Content(ctx context.Context, call Call, name string) (*Content, error) {
	return underRules(ctx, s, call, func(call Call) (*Content, error) { return s.content(ctx, call, name) })
}

func (s *Service) content(ctx context.Context, call Call, name string) (*Content, error) {
	if err := s.current(); err != nil {
		return nil, err
	}
	nothing := fault.New(fault.NotFound, "this handle has expired or is another caller's")
	row, err := s.seekHandle(ctx, call.Principal, name)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, nothing
	}
	c := &Content{service: s, handle: row, caller: call.Principal}
	s.streams.enter(c) // before it is looked at whether the person and the rules permit it: what changes later cuts it
	good, err := s.stream(ctx, call, c)
	if err == nil && !good {
		err = nothing
	}
	if err != nil {
		s.streams.leave(c)
		return nil, err
	}
	return c, nil
}

// stream opens what a handle is for, if it is good.
func (s *Service) stream(ctx context.Context, call Call, c *Content) (good bool, err error) {
	permit := s.keyring.Permit()
	row := c.handle
	var until time.Time
	var was former
	err = s.Store.View(ctx, func(r store.Reader) error {
		current, err := s.ground(call.rules).holds(r)
		switch {
		case err != nil:
			return err
		case !current:
			return errRules
		}
		if until, good, err = s.holdsGood(ctx, call.rules, r, call.Principal, row); err != nil || !good {
			return err
		}
		was, err = s.rows.formerOf(r, row.Subject, row.Part.Key)
		return err
	})
	if err != nil || !good {
		return false, err
	}
	opened, err := s.keyring.Open(ctx, permit, row.Part.Key)
	if err != nil {
		return false, err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if err := s.keyTrouble(err); err != nil {
		return false, err
	}
	meta, err := s.openMeta(key, row.Subject, row.Document, row.Part)
	if err != nil {
		return false, err
	}
	b, err := s.Blobs.Open(ctx, row.Part.Blob)
	if err != nil {
		return false, fmt.Errorf("open a document's blob: %w", err)
	}
	r, err := openFile(b, key, was, s.partContext(sealedDocument, row.Subject, row.Document, row.Part.Blob), meta.Size)
	if err != nil {
		return false, errors.Join(err, b.Close())
	}
	c.MediaType = meta.MediaType
	c.open(b, r, row.ends(until))
	return true, nil
}

// holdsGood reports whether an open document would be opened again, under these rules and with the person as they stand, and
// when what it would rest on ends; zero is never.
func (s *Service) holdsGood(ctx context.Context, now *rules, rd store.Reader, caller access.Principal, row *handleRow) (until time.Time, good bool, err error) {
	who, err := s.load(rd, row.Subject, "")
	if err != nil || who == nil || !bytes.HasPrefix(who.raw, row.Status) {
		return until, false, err
	}
	r := row.request()
	p, ok := now.purposes.Get(r.Purpose)
	if !ok || !now.mayUse(caller, p) {
		return until, false, nil
	}
	u, err := s.useOf(now, &r, p, row.Recipient)
	if err != nil || r.Refusal != nil || u.outside(documentsField) != nil || s.stands(now, &r, who.row) != nil {
		return until, false, nil //nolint:nilerr // a request that would be wrong by now
	}
	against, err := s.consented(rd, u, who.id, who.row.bases)
	if err != nil || against != nil || !now.gate.Decide(ctx, s.asks(Call{Principal: caller, rules: now}, r)).Allowed() {
		return until, false, err
	}
	rests, _ := s.footing(p, who.row.bases) // it stands
	return rests.until, true, nil
}

// heldDocuments lists a person's documents: for an application, those it has tokens of.
func (s *Service) heldDocuments(r store.Reader, who SubjectID, caller access.Principal) ([]api.HeldDocument, error) {
	may, any, err := s.readable(r, caller, who)
	if err != nil {
		return nil, err
	}
	var all []api.HeldDocument
	prefix := s.rows.of(kindDocument, who)
	err = scanAll(r, prefix, func(p store.Pair) error {
		d := DocumentID(p.Key[len(prefix):])
		issued, err := r.Get(s.rows.issuedDocument(who, caller.System, d))
		if err != nil || !any && !may[string(issuedDocumentPart(d))] {
			return err
		}
		row, err := decodeRow[documentRow](p.Value)
		if err != nil {
			return err
		}
		held := api.HeldDocument{Document: d.String(), Token: string(issued[0]), Kind: row.Kind}
		for i, part := range row.Parts {
			held.Parts = append(held.Parts, api.HeldPart{Part: i + 1, Side: part.Side, AddedAt: part.Added.time()})
		}
		all = append(all, held)
		return nil
	})
	return all, err
}

// removeBlobs removes the blobs of a person's document row, and drafts rows of those that the storage keeps.
func (s *Service) removeBlobs(ctx context.Context, d *draft, whose SubjectID, raw []byte) error {
	row, err := decodeRow[documentRow](raw)
	if err != nil {
		return err
	}
	for _, part := range row.Parts {
		err := s.Blobs.Remove(ctx, part.Blob)
		if kept, ok := errors.AsType[*blob.Kept](err); ok {
			d.set(s.rows.upload(part.Blob), encodeRow(s.keptRow(ctx, part.Blob, kept, whose)))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// issueDocument has the change give a system a token for a document.
func (s *Service) issueDocument(c *change, h *holdingRow, system string, d DocumentID) (token.Token, error) {
	t, err := token.New(token.Opaque, s.Environment)
	if err != nil {
		return "", err
	}
	c.set(s.rows.token(t), encodeRow(tokenRow{
		System: system, Subject: c.id, Pairwise: h.Pairwise, Field: documentsField, Document: d,
	}))
	c.set(s.rows.issuedDocument(c.id, system, d), []byte(t))
	c.row.issued(system, 0, 1)
	return t, nil
}
