package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// RecordConsent records a consent of a person. The receipt is in this answer alone.
func (c *Client) RecordConsent(ctx context.Context, subject string, in *api.ConsentRequest) (*api.Consent, error) {
	return call[api.Consent](ctx, c, request{operation: "record a consent", method: http.MethodPost, path: about(subject, "/consents"), effect: changes}, in)
}

// ListConsents lists a person's consents, all on one page.
func (c *Client) ListConsents(ctx context.Context, subject string) (*api.Page[api.Consent], error) {
	return call[api.Page[api.Consent]](ctx, c, request{operation: "list consents", method: http.MethodGet, path: about(subject, "/consents")}, nil)
}

// WithdrawConsent ends a consent. When it returns, no reading that starts later discloses anything on the ground of it.
func (c *Client) WithdrawConsent(ctx context.Context, subject, consent string, in *api.WithdrawRequest) (*api.Consent, error) {
	path := about(subject, "/consents/"+segment(consent)+"/withdraw")
	return call[api.Consent](ctx, c, request{operation: "withdraw a consent", method: http.MethodPost, path: path, effect: changes}, in)
}

// ConsentProof shows what is kept of a consent, by the person's receipt.
func (c *Client) ConsentProof(ctx context.Context, in *api.ProofRequest) (*api.ConsentProof, error) {
	return call[api.ConsentProof](ctx, c, request{operation: "show a proof of consent", method: http.MethodPost, path: "/v1/consents/proof"}, in)
}

// MissingConsents lists a page of people whose data is used on the ground of a consent that is not on record. An empty
// purpose stands for all; zero leaves the limit to the server.
func (c *Client) MissingConsents(ctx context.Context, purpose string, limit int, cursor string) (*api.Page[api.MissingConsent], error) {
	v := page(limit, cursor)
	if purpose != "" {
		v.Set("purpose", purpose)
	}
	return call[api.Page[api.MissingConsent]](ctx, c, request{operation: "list missing consents", method: http.MethodGet, path: withQuery("/v1/consents/missing", v)}, nil)
}

// ConsentTexts lists the consent texts, without what they say.
func (c *Client) ConsentTexts(ctx context.Context) (*api.Page[api.ConsentText], error) {
	return call[api.Page[api.ConsentText]](ctx, c, request{operation: "list consent texts", method: http.MethodGet, path: "/v1/consents/texts"}, nil)
}

// ConsentText shows a consent text.
func (c *Client) ConsentText(ctx context.Context, version string) (*api.ConsentText, error) {
	return call[api.ConsentText](ctx, c, request{operation: "show a consent text", method: http.MethodGet, path: textPath(version)}, nil)
}

// PutConsentText makes a consent text, or changes one that nobody can have been shown yet.
func (c *Client) PutConsentText(ctx context.Context, version string, in *api.ConsentTextRequest) (*api.Change, error) {
	return call[api.Change](ctx, c, request{operation: "put a consent text", method: http.MethodPut, path: textPath(version)}, in)
}

func textPath(version string) string { return "/v1/consents/texts/" + segment(version) }
