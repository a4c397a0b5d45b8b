package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Keys is what an operator is told of the key provider and tells of it.
type Keys interface {
	ConfirmSnapshot(context.Context, vault.Call, *api.ConfirmSnapshotRequest) (*api.KeySnapshot, error)
	KeySnapshot(context.Context, vault.Call) (*api.KeySnapshot, error)
	MissingKeys(ctx context.Context, call vault.Call, limit int, cursor string) (*api.Page[api.MissingKey], error)
}

// The operations that are the action access.ConfirmSnapshot, too.
const (
	opKeySnapshot = "keys.show"
	opMissingKeys = "keys.missing"
)

func keyRoutes() []Route {
	const ok, reads, bare = http.StatusOK, false, false
	return []Route{
		route(http.MethodPost, "/v1/keys/snapshot", access.ConfirmSnapshot, ok, reads, bare, body(Service.ConfirmSnapshot)),
		route(http.MethodGet, "/v1/keys/snapshot", opKeySnapshot, ok, reads, bare, plain(Service.KeySnapshot)),
		route(http.MethodGet, "/v1/keys/missing", opMissingKeys, ok, reads, bare, listing(missingKeys)),
	}
}

func missingKeys(x *exchange, call vault.Call) (*api.Page[api.MissingKey], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	return x.service.MissingKeys(x.r.Context(), call, limit, x.query.text("cursor"))
}
