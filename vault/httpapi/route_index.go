package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Indexes is the search index as a whole: in which epoch it is, and its rotation.
type Indexes interface {
	Index(context.Context, vault.Call) (*api.Index, error)
	RotateIndex(context.Context, vault.Call) (*api.Index, error)
}

func indexRoutes() []Route {
	const changes, reads, bare = true, false, false
	return []Route{
		route(http.MethodGet, "/v1/index", access.ShowIndex, http.StatusOK, reads, bare, plain(Service.Index)),
		route(http.MethodPost, "/v1/index/rotate", access.RotateIndex, http.StatusAccepted, changes, bare, plain(Service.RotateIndex)),
	}
}
