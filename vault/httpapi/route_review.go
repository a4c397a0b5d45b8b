package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Reviews tells who could see what, and who did.
type Reviews interface {
	ReviewAccess(ctx context.Context, call vault.Call, from, to time.Time) (*api.AccessReview, error)
}

func reviewRoutes() []Route {
	s := bodiless(reviewAccess)
	s.query = []string{"from", "to"}
	return []Route{route(http.MethodGet, "/v1/access/review", access.ReviewAccess, http.StatusOK, false, false, s)}
}

func reviewAccess(x *exchange, call vault.Call) (*api.AccessReview, error) {
	from, err := x.query.time("from")
	if err != nil {
		return nil, err
	}
	to, err := x.query.time("to")
	if err != nil {
		return nil, err
	}
	return x.service.ReviewAccess(x.r.Context(), call, from, to)
}
