package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Drills shows that no backup brings back who was erased.
type Drills interface {
	RunDrill(context.Context, vault.Call) (*api.Drill, error)
	ListDrills(context.Context, vault.Call) (*api.Page[api.Drill], error)
}

// opDrills is the action access.RunDrill, too.
const opDrills = "drill.list"

func drillRoutes() []Route {
	const reads, bare = false, false
	return []Route{
		route(http.MethodPost, "/v1/drills", access.RunDrill, http.StatusAccepted, reads, bare, plain(Service.RunDrill)),
		route(http.MethodGet, "/v1/drills", opDrills, http.StatusOK, reads, bare, plain(Service.ListDrills)),
	}
}
