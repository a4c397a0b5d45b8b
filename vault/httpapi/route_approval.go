package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Approvals is what waits for somebody's word.
type Approvals interface {
	Waiting(ctx context.Context, call vault.Call, limit int, cursor string) (*api.Page[api.Waiting], error)
}

func approvalRoutes() []Route {
	return []Route{
		route(http.MethodGet, "/v1/approvals", access.ListApprovals, http.StatusOK, false, false, listing(waiting)),
	}
}

func waiting(x *exchange, call vault.Call) (*api.Page[api.Waiting], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	return x.service.Waiting(x.r.Context(), call, limit, x.query.text("cursor"))
}
