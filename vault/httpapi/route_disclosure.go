package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Disclosures is who gets something of a person: other systems by a handoff, third parties.
type Disclosures interface {
	SubjectRecipients(ctx context.Context, call vault.Call, subject string, limit int, cursor string) (*api.SubjectRecipients, error)
	RecordTransfer(ctx context.Context, call vault.Call, subject string, in *api.RecordTransferRequest) (*api.Transfer, error)
	CreateHandoff(context.Context, vault.Call, *api.CreateHandoffRequest) (*api.Handoff, error)
	RedeemHandoff(context.Context, vault.Call, *api.RedeemHandoffRequest) (*api.RedeemHandoffResponse, error)
}

func disclosureRoutes() []Route {
	const get, post = http.MethodGet, http.MethodPost
	return []Route{
		route(get, "/v1/subjects/{subject}/recipients", access.ListRecipients, http.StatusOK, false, false, subjectRecipients()),
		route(post, "/v1/subjects/{subject}/transfers", access.RecordTransfer, http.StatusCreated, true, false, bodyAbout("subject", Service.RecordTransfer)),
		// Made twice, the one that nobody redeems runs out; and no key is kept from which it could be told again.
		route(post, "/v1/handoffs", access.CreateHandoff, http.StatusCreated, false, true, body(Service.CreateHandoff)),
		route(post, "/v1/handoffs/redeem", access.RedeemHandoff, http.StatusOK, true, true, body(Service.RedeemHandoff)),
	}
}

// subjectRecipients is the shape of a person's recipients, which come in pages.
func subjectRecipients() shape {
	s := bodiless(func(x *exchange, call vault.Call) (*api.SubjectRecipients, error) {
		limit, err := x.query.limit()
		if err != nil {
			return nil, err
		}
		return x.service.SubjectRecipients(x.r.Context(), call, x.r.PathValue("subject"), limit, x.query.text("cursor"))
	})
	s.query = []string{"limit", "cursor"}
	return s
}
