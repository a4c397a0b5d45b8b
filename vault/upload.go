package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"mime"

	"github.com/gabriel-vasile/mimetype"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
)

// Upload is a document, or a part of one, on its way in.
type Upload struct {
	Subject       string
	Document      string // the document to add a part to; empty for a new one
	Kind          string
	Side          string // front, back, page or nothing
	MediaType     string // as the sender claims; what it is decides
	Purpose       string
	Capture       string // digital, photographed, scanned_from_paper
	CaptureGround string // why a paper copy was made
	Length        int64  // bytes, -1 when unknown
	Body          io.Reader
}

var (
	documentKinds = []string{"identity_card", "passport", "residence_permit", "foreign_passport", "consent_form", "other"}
	documentSides = []string{"", "front", "back", "page"}
	captures      = []string{"digital", "photographed", scannedFromPaper}
	documentsKept = []string{"image/jpeg", "image/png", "image/heic", "image/heif", "image/tiff", "application/pdf"}
)

const (
	scannedFromPaper = "scanned_from_paper"
	sniffed          = 3072 // bytes at the beginning that say what a file is
)

// PutDocument takes in a scan as a stream. Nothing of it is kept unless all of it came and is what it claims to be.
func (s *Service) PutDocument(ctx context.Context, call Call, u Upload) (*api.Document, error) {
	if err := s.rulebook.load(ctx); err != nil { // the body can be read once: see upload.commit for rules that change
		return nil, edge(err)
	}
	call.rules = s.rulebook.current.Load()
	doc, err := s.putDocument(ctx, call, &u)
	if errors.Is(err, errRules) {
		return nil, errRulesChanged()
	}
	return doc, edge(err)
}

func (s *Service) putDocument(ctx context.Context, call Call, u *Upload) (*api.Document, error) {
	r := access.Request{Action: access.PutDocument, Purpose: u.Purpose, Fields: []string{documentsField}}
	if err := s.checkUpload(ctx, call, u, &r); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, call, r); err != nil {
		return nil, err
	}
	if err := s.writable(); err != nil {
		return nil, err
	}
	who, err := s.meet(ctx, call, r, u.Subject, nil)
	if err != nil {
		return nil, err
	}
	if refusal := s.stands(call.rules, &r, who.row); refusal != nil {
		r.Subject = who.id.String()
		return nil, s.refuse(ctx, call, r, refusal)
	}
	in, err := s.sniff(u)
	if err != nil {
		return nil, err
	}
	// The key names the upload; whether a retry brings the same bytes is seen when they have come.
	call.Body = lengthPrefixed(u.Subject, u.Document, u.Kind, u.Side, in.mediaType, u.Purpose, u.Capture, u.CaptureGround)
	var doc *api.Document
	err = s.once(ctx, call, access.PutDocument, func(o *once) (err error) {
		if e := o.earlier(0); e != nil {
			doc, err = s.uploadedBefore(ctx, call, e, in)
			return err
		}
		up := &upload{Service: s, call: call, request: r, from: u, in: in, once: o, who: who, blob: blob.NewID()}
		doc, err = up.receive(ctx)
		return err
	})
	return doc, err
}

func (s *Service) checkUpload(ctx context.Context, call Call, u *Upload, r *access.Request) error {
	p, err := s.purposeNamed(ctx, call, access.PutDocument, u.Purpose)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		field, value string
		allowed      []string
	}{{"kind", u.Kind, documentKinds}, {"side", u.Side, documentSides}, {"Sandyq-Capture", u.Capture, captures}} {
		if err := checkOneOf(c.field, c.value, c.allowed...); err != nil {
			return err
		}
	}
	if (u.Capture == scannedFromPaper) != (u.CaptureGround != "") {
		return fault.Bad("Sandyq-Capture-Ground", "required for scanned_from_paper, and for nothing else")
	}
	if u.CaptureGround != "" && !isCode(u.CaptureGround) {
		return fault.Bad("Sandyq-Capture-Ground", ruleCode)
	}
	if u.Length > s.MaxDocument {
		return s.tooLarge()
	}
	r.Refusal = use{Purpose: p}.outside(documentsField)
	return nil
}

func (s *Service) tooLarge() error {
	return fault.Newf(fault.TooLarge, "a document part has at most %d bytes", s.MaxDocument)
}

// incoming is a scan as it streams in: hashed, counted and bounded.
type incoming struct {
	mediaType string
	from      io.Reader
	sum       hash.Hash
	size      int64
}

// sniff looks at the first bytes: a file that is not of a kind we keep, or lies about itself, is refused unread.
func (s *Service) sniff(u *Upload) (*incoming, error) {
	head := make([]byte, sniffed)
	n, err := io.ReadFull(u.Body, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, bodyFault(err)
	}
	head = head[:n]
	claimed, _, err := mime.ParseMediaType(u.MediaType)
	if err != nil {
		return nil, fault.New(fault.Unsupported, "Content-Type must name the document's media type")
	}
	is := mimetype.Detect(head)
	for _, kept := range documentsKept {
		if is.Is(kept) && is.Is(claimed) {
			return &incoming{
				mediaType: kept, sum: sha256.New(),
				from: io.LimitReader(io.MultiReader(bytes.NewReader(head), u.Body), s.MaxDocument+1),
			}, nil
		}
	}
	return nil, fault.New(fault.Unsupported, "the content is not JPEG, PNG, HEIC, TIFF or PDF, or not what Content-Type says")
}

// bodyFault is a body that broke off or was over its limit.
func bodyFault(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return fault.Wrap(fault.Invalid, fault.Sender(err), "the document did not come whole")
}

// copyTo streams all of the scan, and refuses one that is too large.
func (in *incoming) copyTo(ctx context.Context, dst io.Writer, most int64) error {
	read := &bodyReader{ctx: ctx, r: in.from}
	n, err := io.Copy(io.MultiWriter(dst, in.sum), read)
	in.size = n
	switch {
	case read.err != nil:
		return bodyFault(read.err)
	case err != nil:
		return err
	case n > most:
		return fault.Newf(fault.TooLarge, "a document part has at most %d bytes", most)
	}
	return nil
}

// bodyReader tells a failure of the sender from one of the disk.
type bodyReader struct {
	ctx context.Context // of the upload; looked at before and after each read
	r   io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err = context.Cause(b.ctx); b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if b.err = context.Cause(b.ctx); b.err != nil {
		return 0, b.err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
