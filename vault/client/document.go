package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sandyq/sandyq/vault/api"
)

// Upload names a document that is put into the vault.
type Upload struct {
	Document      string // adds a part to this document; empty makes a new one
	Kind          string // identity_card, passport, residence_permit, foreign_passport, consent_form, other
	Side          string // front, back, page; optional
	MediaType     string // of the file: image/jpeg, image/png, image/heic, image/tiff, application/pdf
	Purpose       string
	Capture       string // digital, photographed, scanned_from_paper
	CaptureGround string // required when scanned from paper
	Size          int64  // bytes of the file if known, which lets the server refuse early; 0 when not
}

// UploadDocument streams a file into the vault. It is repeated after a failure only when file can seek. What the server
// says it stored is compared with what was sent. The file is not read any more when UploadDocument has returned, unless
// ctx ended while a Read of it was under way.
func (c *Client) UploadDocument(ctx context.Context, subject string, up Upload, file io.Reader) (*api.Document, error) {
	size := up.Size
	if size == 0 {
		size = -1
	}
	var sent *sending // the latest attempt
	r := request{operation: "upload a document", method: http.MethodPost, path: up.path(subject), header: up.header(), effect: once}
	r.stream = func() (io.Reader, int64, error) {
		sent = newSending(ctx, file)
		return sent, size, nil
	}
	if seeker, ok := file.(io.Seeker); ok {
		if begin, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			first := r.stream
			r.effect = changes
			r.stream = func() (io.Reader, int64, error) {
				if sent != nil {
					if err := sent.end(ctx); err != nil {
						return nil, 0, err
					}
				}
				if _, err := seeker.Seek(begin, io.SeekStart); err != nil {
					return nil, 0, fmt.Errorf("go back in the file: %w", err)
				}
				return first()
			}
		}
	}
	document, err := call[api.Document](ctx, c, r, nil)
	if sent != nil {
		if ended := sent.end(ctx); err == nil {
			err = ended
		}
	}
	if err != nil {
		return nil, err
	}
	if !sent.whole || hex.EncodeToString(sent.digest.Sum(nil)) != document.SHA256 {
		return nil, errStored
	}
	return document, nil
}

// errStored reports an upload that arrived as something else.
var errStored = errors.New("upload a document: what the server stored is not the file")

func (up Upload) path(subject string) string {
	query := url.Values{}
	for name, value := range map[string]string{"kind": up.Kind, "side": up.Side, "document": up.Document} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return withQuery(about(subject, "/documents"), query)
}

func (up Upload) header() http.Header {
	header := http.Header{"Content-Type": {up.MediaType}}
	for name, value := range map[string]string{
		api.HeaderPurpose: up.Purpose, api.HeaderCapture: up.Capture, api.HeaderCaptureGround: up.CaptureGround,
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
	return header
}

// OpenDocument asks to see a document and answers with a short-lived handle for ReadDocument.
func (c *Client) OpenDocument(ctx context.Context, in *api.OpenDocumentRequest) (*api.OpenDocumentResponse, error) {
	return call[api.OpenDocumentResponse](ctx, c, request{operation: "open a document", method: http.MethodPost, path: "/v1/documents/open"}, in)
}

// contentPath is where handles are read.
const contentPath = "/v1/content/"

// ReadDocument streams an opened document. The reader fails when the stream is cut, by a block or an erasure too, and
// at its end when what came is not what was stored; until it has answered io.EOF, nothing it gave is certain to be whole.
func (c *Client) ReadDocument(ctx context.Context, open *api.OpenDocumentResponse) (io.ReadCloser, error) {
	handle, ok := strings.CutPrefix(open.Content, contentPath)
	if !ok || strings.Contains(handle, "/") {
		return nil, errors.New("read a document: the answer to OpenDocument has no path of a content")
	}
	document := &verified{digest: sha256.New(), want: open.SHA256}
	r := request{operation: "read a document", method: http.MethodGet, path: contentPath + segment(handle)}
	err := c.do(ctx, r, func(resp *http.Response) error {
		document.body = resp.Body
		return nil
	})
	if err != nil {
		return nil, err
	}
	return document, nil
}

// errDigest reports a document that is not the one that was stored.
var errDigest = errors.New("read a document: the bytes are not those that were stored")

// verified reads a body and compares its digest at the end.
type verified struct {
	body   io.ReadCloser
	digest hash.Hash
	want   string // hexadecimal SHA-256
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	v.digest.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(v.digest.Sum(nil)) != v.want {
		return n, errDigest
	}
	return n, err
}

func (v *verified) Close() error { return v.body.Close() }
