package vault

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/crypto/document"
	"github.com/sandyq/sandyq/crypto/envelope"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/token"
)

// upload is a document on its way into the vault. The person's key for documents is there before the first byte is
// sealed; a row keeps the blob from being taken for abandoned while it streams; the Update that commits the document
// consumes that row.
type upload struct {
	*Service
	call     Call
	request  access.Request
	from     *Upload
	in       *incoming
	once     *once
	who      *person
	document DocumentID
	blob     blob.ID
	key      kms.ID
	meta     []byte // partMeta, sealed

	row   *documentRow // as of the last look
	token token.Token  // the system's, of the document
	part  int          // from 1, once committed
}

func (up *upload) receive(ctx context.Context) (*api.Document, error) {
	up.document = DocumentID(id.New())
	if up.from.Document != "" {
		raw, err := parseID(documentPrefix, up.from.Document)
		if err != nil {
			return nil, up.refuse(ctx, up.call, up.request, fault.From(err))
		}
		up.document = DocumentID(raw)
	}
	if err := up.mayGoOn(ctx); err != nil {
		return nil, err
	}
	if err := up.ensureKey(ctx); err != nil {
		return nil, err
	}
	ctx, leave := up.uploads.enter(ctx, up)
	defer leave()
	stop, err := up.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := up.store(ctx); err != nil {
		return nil, err
	}
	if err := up.commit(ctx); err != nil {
		return nil, err
	}
	return &api.Document{
		Document: up.document.String(), Token: string(up.token), Kind: up.from.Kind, Side: up.from.Side, Part: up.part,
		MediaType: up.in.mediaType, Size: up.in.size, SHA256: hex.EncodeToString(up.in.sum.Sum(nil)),
	}, nil
}

// mayGoOn refuses, and records, what would be refused at the end.
func (up *upload) mayGoOn(ctx context.Context) error {
	err := up.look(ctx)
	if refusal, ok := errors.AsType[*fault.Error](err); ok {
		r := up.request
		r.Subject = up.who.id.String()
		return up.refuse(ctx, up.call, r, refusal)
	}
	return err
}

// ensureKey gives the person a key for documents before anything is sealed under it.
func (up *upload) ensureKey(ctx context.Context) error {
	for range maxRounds {
		if key, ok := up.who.row.Keys[schema.DocumentsSlice]; ok {
			up.key = key
			return nil
		}
		if err := up.makeKey(ctx); err != nil {
			return err
		}
		if err := up.mayGoOn(ctx); err != nil {
			return err
		}
	}
	return errContended
}

func (up *upload) makeKey(ctx context.Context) error {
	fresh, err := up.keyring.Fresh(ctx, 1)
	if err != nil {
		return err
	}
	defer fresh[0].Close()
	c := up.changed(up.who)
	c.row.Keys[schema.DocumentsSlice] = fresh[0].ID(0)
	up.consumeKey(&c.draft, fresh[0].ID(0))
	permit := up.keyring.Permit()
	written, err := commit(ctx, up.Store, up.done(c))
	if err == nil && written[0] {
		up.keyring.Keep(fresh[0], permit)
	}
	return err
}

// store streams the plaintext through encryption into the blob, and seals what it is.
func (up *upload) store(ctx context.Context) error {
	permit := up.keyring.Permit()
	if err := up.mayGoOn(ctx); err != nil {
		return err
	}
	opened, err := up.keyring.Open(ctx, permit, up.key)
	if err != nil {
		return err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if err := up.keyTrouble(err); err != nil {
		return err
	}
	w, err := up.Blobs.Create(ctx, up.blob)
	if err != nil {
		return err
	}
	defer w.Abort()
	sealed, err := document.NewWriter(w, key, up.partContext(sealedDocument, up.who.id, up.document, up.blob))
	if err != nil {
		return err
	}
	if err := up.in.copyTo(ctx, sealed, up.MaxDocument); err != nil {
		return err
	}
	if err := sealed.Close(); err != nil {
		return err
	}
	meta := encodeRow(partMeta{up.in.mediaType, up.in.size, up.in.sum.Sum(nil)})
	up.meta, err = envelope.Seal(key, up.partContext(sealedMeta, up.who.id, up.document, up.blob), meta)
	if err != nil {
		return err
	}
	return w.Commit()
}

// look reads the person and the document that is added to, and finds out whether the upload may go on.
func (up *upload) look(ctx context.Context) error {
	return up.Store.View(ctx, func(r store.Reader) error {
		who, err := up.load(r, up.who.id, up.call.Principal.System)
		switch {
		case err != nil:
			return err
		case who == nil:
			return errNobody()
		}
		up.who = who
		if refusal := up.stands(up.call.rules, &up.request, who.row); refusal != nil {
			return refusal
		}
		switch key := who.row.Keys[schema.DocumentsSlice]; {
		case who.row.fadesSlice(schema.DocumentsSlice):
			return errFading()
		case up.key != (kms.ID{}) && up.key != key:
			return errUploadCut // it began under a key that was destroyed since
		}
		return up.lookAtDocument(r)
	})
}

func (up *upload) lookAtDocument(r store.Reader) error {
	up.row, up.token = &documentRow{Kind: up.from.Kind}, ""
	if up.from.Document == "" {
		return nil
	}
	row, err := getRow[documentRow](r, up.rows.document(up.who.id, up.document))
	if err != nil {
		return err
	}
	issued, err := r.Get(up.rows.issuedDocument(up.who.id, up.call.Principal.System, up.document))
	switch {
	case err != nil:
		return err
	case row == nil, issued[0] == nil && !up.call.Principal.VaultWide():
		return fault.New(fault.NotFound, "this person has no such document")
	case row.Kind != up.from.Kind:
		return conflict("kind", "the document is of another kind")
	case len(row.Parts) >= maxParts:
		return conflict("document", fmt.Sprintf("at most %d parts", maxParts))
	}
	up.row, up.token = row, token.Token(issued[0])
	return nil
}

// commit makes the part the person's, if they may still be written to under the rules as they are by then.
func (up *upload) commit(ctx context.Context) error {
	_, err := underRules(ctx, up.Service, up.call, func(call Call) (outcome, error) {
		up.call, up.request.Refusal = call, nil
		if err := up.checkUpload(ctx, call, up.from, &up.request); err != nil {
			return outcome{}, err
		}
		return up.commitUnder(ctx)
	})
	return err
}

func (up *upload) commitUnder(ctx context.Context) (outcome, error) {
	return up.act(ctx, up.call, func() (deed, error) {
		d := deed{request: up.request}
		d.request.Subject, d.entry.Objects, d.entry.Items = up.who.id.String(), []string{up.document.String()}, 1
		d.entry.Kind = up.from.Kind
		err := up.look(ctx)
		if err == nil {
			d.effect, err = up.draft()
		}
		d.request.State, d.request.Basis, d.request.Consent = up.request.State, up.request.Basis, up.request.Consent
		if refusal, ok := errors.AsType[*fault.Error](err); ok {
			d.request.Refusal, err = refusal, nil
		}
		return d, err
	})
}

// draft drafts the document with its new part.
func (up *upload) draft() (*draft, error) {
	c := up.changed(up.who)
	if up.who.holding == nil {
		up.hold(c, up.who, up.call.Principal.System)
	}
	lease := up.rows.upload(up.blob)
	c.expectPrefix(lease, uploadHeld) // the sweeper has not taken the blob
	c.delete(lease)
	up.row.Parts = append(up.row.Parts, partRow{
		Blob: up.blob, Key: up.key, Side: up.from.Side, Capture: up.from.Capture, Ground: up.from.CaptureGround,
		Added: stampOf(up.Clock()), Meta: up.meta,
	})
	up.part = len(up.row.Parts)
	c.set(up.rows.document(up.who.id, up.document), encodeRow(up.row))
	first := 0
	if up.from.Document == "" {
		first = 1
	}
	c.row.Counts.Documents += first
	c.row.Counts.Parts++
	c.row.sealed(up.key, string(schema.CategoryDocument), first, 1)
	collected(c, up.who.holding, up.from.Purpose)
	up.setHolding(c, up.who, up.call.Principal.System)
	if up.token == "" {
		var err error
		if up.token, err = up.issueDocument(c, up.who.holding, up.call.Principal.System, up.document); err != nil {
			return nil, err
		}
	}
	up.once.keep(&c.draft, 0, done{Subject: up.who.id, Object: up.document, Part: up.part})
	return up.done(c), nil
}

// uploadedBefore answers a retry from what the first try came to, once the same bytes have come again.
func (s *Service) uploadedBefore(ctx context.Context, call Call, e *done, in *incoming) (*api.Document, error) {
	if err := in.copyTo(ctx, io.Discard, s.MaxDocument); err != nil {
		return nil, err
	}
	permit := s.keyring.Permit()
	var row *documentRow
	var who *person
	var issued string
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		if row, err = getRow[documentRow](r, s.rows.document(e.Subject, e.Object)); err != nil {
			return err
		}
		if who, err = s.load(r, e.Subject, call.Principal.System); err != nil {
			return err
		}
		rows, err := r.Get(s.rows.issuedDocument(e.Subject, call.Principal.System, e.Object))
		if err == nil {
			issued = string(rows[0])
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case row == nil || who.row.fades(row.Parts[e.Part-1].Key):
		return nil, errSliceErased()
	case issued == "":
		return nil, conflict("token", "the token that the first call answered is retired")
	}
	part := row.Parts[e.Part-1]
	opened, err := s.keyring.Open(ctx, permit, part.Key)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	key, err := opened.Key(0)
	if err := s.keyTrouble(err); err != nil {
		return nil, err
	}
	meta, err := s.openMeta(key, e.Subject, e.Object, part)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(meta.SHA256, in.sum.Sum(nil)) {
		return nil, fault.New(fault.Unprocessable, "this idempotency key came before with another body")
	}
	return &api.Document{
		Document: DocumentID(e.Object).String(), Token: issued, Kind: row.Kind, Side: part.Side, Part: e.Part,
		MediaType: meta.MediaType, Size: meta.Size, SHA256: hex.EncodeToString(meta.SHA256),
	}, nil
}
