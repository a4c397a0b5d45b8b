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

// UploadDocument streams a file into the vault. It is repeated after a failure only when file can seek.
func (c *Client) UploadDocument(ctx context.Context, subject string, up Upload, file io.Reader) (*api.Document, error) {
	query := url.Values{}
	for name, value := range map[string]string{"kind": up.Kind, "side": up.Side, "document": up.Document} {
		if value != "" {
			query.Set(name, value)
		}
	}
	header := http.Header{"Content-Type": {up.MediaType}}
	for name, value := range map[string]string{
		api.HeaderPurpose: up.Purpose, api.HeaderCapture: up.Capture, api.HeaderCaptureGround: up.CaptureGround,
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
	size := up.Size
	if size == 0 {
		size = -1
	}
	r := request{
		operation: "upload a document", method: http.MethodPost, path: withQuery(about(subject, "/documents"), query), header: header,
		stream: func() (io.Reader, int64, error) { return io.NopCloser(file), size, nil }, effect: once,
	}
	if seeker, ok := file.(io.Seeker); ok {
		begin, err := seeker.Seek(0, io.SeekCurrent)
		if err == nil {
			r.effect = changes
			r.stream = func() (io.Reader, int64, error) {
				if _, err := seeker.Seek(begin, io.SeekStart); err != nil {
					return nil, 0, fmt.Errorf("go back in the file: %w", err)
				}
				return io.NopCloser(file), size, nil
			}
		}
	}
	return call[api.Document](ctx, c, r, nil)
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
