package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Consents is what people consented to, the texts that they were shown, and the proofs that outlive them.
type Consents interface {
	RecordConsent(ctx context.Context, call vault.Call, subject string, in *api.ConsentRequest) (*api.Consent, error)
	ListConsents(ctx context.Context, call vault.Call, subject string) (*api.Page[api.Consent], error)
	WithdrawConsent(ctx context.Context, call vault.Call, subject, consent string, in *api.WithdrawRequest) (*api.Consent, error)
	ConsentProof(context.Context, vault.Call, *api.ProofRequest) (*api.ConsentProof, error)
	MissingConsents(ctx context.Context, call vault.Call, purpose string, limit int, cursor string) (*api.Page[api.MissingConsent], error)
	ConsentTexts(context.Context, vault.Call) (*api.Page[api.ConsentText], error)
	ConsentText(ctx context.Context, call vault.Call, version string) (*api.ConsentText, error)
	PutConsentText(ctx context.Context, call vault.Call, version string, in *api.ConsentTextRequest) (*api.Change, error)
}

// The operations that are no action of access's vocabulary: each is decided as a listing of consents, as a reading of the
// configuration, or as a change of it.
const (
	opMissing      = "consent.missing"
	opConsentTexts = "consent_text.list"
	opConsentText  = "consent_text.show"
	opPutText      = "consent_text.change"
)

func consentRoutes() []Route {
	const (
		get, post = http.MethodGet, http.MethodPost
		ok        = http.StatusOK
	)
	put := route(http.MethodPut, "/v1/consents/texts/{version}", opPutText, ok, false, false, bodyAbout("version", Service.PutConsentText))
	put.Waits = true
	return []Route{
		route(post, "/v1/subjects/{subject}/consents", access.RecordConsent, http.StatusCreated, true, true, bodyAbout("subject", Service.RecordConsent)),
		route(get, "/v1/subjects/{subject}/consents", access.ListConsents, ok, false, true, about("subject", Service.ListConsents)),
		route(post, "/v1/subjects/{subject}/consents/{consent}/withdraw", access.WithdrawConsent, ok, true, true, withdrawal()),
		route(post, "/v1/consents/proof", access.ShowProof, ok, false, false, body(Service.ConsentProof)),
		route(get, "/v1/consents/missing", opMissing, ok, false, false, listing(missingConsents, "purpose")),
		route(get, "/v1/consents/texts", opConsentTexts, ok, false, false, plain(Service.ConsentTexts)),
		route(get, "/v1/consents/texts/{version}", opConsentText, ok, false, false, about("version", Service.ConsentText)),
		put,
	}
}

// withdrawal is the shape of a call about a consent of a person, whose body may be left out.
func withdrawal() shape {
	return mayJSONShape(func(x *exchange, call vault.Call, in *api.WithdrawRequest) (*api.Consent, error) {
		return x.service.WithdrawConsent(x.r.Context(), call, x.r.PathValue("subject"), x.r.PathValue("consent"), in)
	})
}

func missingConsents(x *exchange, call vault.Call) (*api.Page[api.MissingConsent], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	return x.service.MissingConsents(x.r.Context(), call, x.query.text("purpose"), limit, x.query.text("cursor"))
}
