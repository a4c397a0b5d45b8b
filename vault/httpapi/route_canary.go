package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Canaries are people and tokens that nobody has cause to use.
type Canaries interface {
	MarkCanary(context.Context, vault.Call, *api.MarkCanaryRequest) (*api.Canary, error)
	Canaries(context.Context, vault.Call) (*api.Page[api.Canary], error)
	UnmarkCanary(ctx context.Context, call vault.Call, canary string) (*api.Canary, error)
}

// The operations that are the action access.MarkCanary, too.
const (
	opCanaries     = "canary.list"
	opUnmarkCanary = "canary.unmark"
)

func canaryRoutes() []Route {
	const ok, reads, personal, bare = http.StatusOK, false, true, false
	return []Route{
		route(http.MethodPost, "/v1/canaries", access.MarkCanary, ok, reads, personal, body(Service.MarkCanary)),
		route(http.MethodGet, "/v1/canaries", opCanaries, ok, reads, bare, plain(Service.Canaries)),
		route(http.MethodDelete, "/v1/canaries/{canary}", opUnmarkCanary, ok, reads, bare, about("canary", Service.UnmarkCanary)),
	}
}
