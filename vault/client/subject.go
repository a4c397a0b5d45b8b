package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/sandyq/sandyq/vault/api"
)

// CreateSubject makes a person without fields.
func (c *Client) CreateSubject(ctx context.Context, in *api.CreateSubjectRequest) (*api.Subject, error) {
	return call[api.Subject](ctx, c, request{operation: "create a subject", method: http.MethodPost, path: "/v1/subjects", effect: changes}, in)
}

// Subject shows what is held of a person; no values.
func (c *Client) Subject(ctx context.Context, subject string) (*api.Subject, error) {
	return call[api.Subject](ctx, c, request{operation: "show a subject", method: http.MethodGet, path: about(subject, "")}, nil)
}

// Reveal reads fields of one person without tokens.
func (c *Client) Reveal(ctx context.Context, subject string, in *api.RevealRequest) (*api.RevealResponse, error) {
	return call[api.RevealResponse](ctx, c, request{operation: "reveal", method: http.MethodPost, path: about(subject, "/reveal")}, in)
}

// Rectify replaces values; tokens stay.
func (c *Client) Rectify(ctx context.Context, subject string, in *api.RectifyRequest) (*api.RectifyResponse, error) {
	return call[api.RectifyResponse](ctx, c, request{operation: "rectify", method: http.MethodPost, path: about(subject, "/rectify"), effect: changes}, in)
}

// Block stops the processing of a person. When it returns, no reading that starts later discloses anything.
func (c *Client) Block(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error) {
	return call[api.Subject](ctx, c, request{operation: "block", method: http.MethodPost, path: about(subject, "/block"), effect: changes}, in)
}

// Unblock ends a block of a kind.
func (c *Client) Unblock(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error) {
	return call[api.Subject](ctx, c, request{operation: "unblock", method: http.MethodPost, path: about(subject, "/unblock"), effect: changes}, in)
}

func about(subject, rest string) string { return "/v1/subjects/" + segment(subject) + rest }

// RequestErasure asks for a person's erasure, or for a part's, or counts what one would destroy.
func (c *Client) RequestErasure(ctx context.Context, in *api.ErasureRequest) (*api.Erasure, error) {
	return call[api.Erasure](ctx, c, request{operation: "request an erasure", method: http.MethodPost, path: "/v1/erasures", effect: changes}, in)
}

// ApproveErasure adds the caller's approval, of what the digest says they were shown when in has one. in may be nil.
func (c *Client) ApproveErasure(ctx context.Context, erasure string, in *api.ErasureApproval) (*api.Erasure, error) {
	if in == nil {
		in = &api.ErasureApproval{}
	}
	return call[api.Erasure](ctx, c, request{operation: "approve an erasure", method: http.MethodPost, path: erasurePath(erasure) + "/approve", effect: changes}, in)
}

// CancelErasure ends an erasure that has not begun to destroy.
func (c *Client) CancelErasure(ctx context.Context, erasure string) (*api.Erasure, error) {
	return call[api.Erasure](ctx, c, request{operation: "cancel an erasure", method: http.MethodPost, path: erasurePath(erasure) + "/cancel", effect: changes}, nil)
}

// Erasure shows how far an erasure has come.
func (c *Client) Erasure(ctx context.Context, erasure string) (*api.Erasure, error) {
	return call[api.Erasure](ctx, c, request{operation: "show an erasure", method: http.MethodGet, path: erasurePath(erasure)}, nil)
}

// Certificate reads the certificate of an erasure, as certificate.Parse takes it: JSON. It fails with fault.NotFound until the
// erasure is at its end.
func (c *Client) Certificate(ctx context.Context, erasure string) ([]byte, error) {
	return c.certificate(ctx, erasure, "?format=json")
}

// CertificatePage reads the certificate of an erasure set on a page of PDF, in kk, ru or en.
func (c *Client) CertificatePage(ctx context.Context, erasure, lang string) ([]byte, error) {
	return c.certificate(ctx, erasure, "?format=pdf&lang="+url.QueryEscape(lang))
}

// maxCertificate bounds a certificate in either form, in bytes.
const maxCertificate = 4 << 20

func (c *Client) certificate(ctx context.Context, erasure, query string) ([]byte, error) {
	return c.bytes(ctx, request{operation: "read a certificate", method: http.MethodGet, path: erasurePath(erasure) + "/certificate" + query}, maxCertificate)
}

func erasurePath(erasure string) string { return "/v1/erasures/" + segment(erasure) }
