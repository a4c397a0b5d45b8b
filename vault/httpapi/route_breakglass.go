package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// Emergencies are declared by staff and reviewed by others.
type Emergencies interface {
	StartBreakGlass(context.Context, vault.Call, *api.BreakGlassRequest) (*api.BreakGlass, error)
	BreakGlass(ctx context.Context, call vault.Call, open *bool, limit int, cursor string) (*api.Page[api.BreakGlass], error)
	EndBreakGlass(ctx context.Context, call vault.Call, emergency string) (*api.BreakGlass, error)
	ReviewBreakGlass(ctx context.Context, call vault.Call, emergency string, in *api.BreakGlassReviewRequest) (*api.BreakGlass, error)
}

func breakGlassRoutes() []Route {
	const (
		ok, changes, reads, bare = http.StatusOK, true, false, false
		one                      = "/v1/break-glass/{emergency}"
	)
	return []Route{
		route(http.MethodPost, "/v1/break-glass", access.StartBreakGlass, http.StatusCreated, changes, bare, body(Service.StartBreakGlass)),
		route(http.MethodGet, "/v1/break-glass", access.ListBreakGlass, ok, reads, bare, listing(breakGlass, "open")),
		route(http.MethodPost, one+"/end", access.EndBreakGlass, ok, changes, bare, about("emergency", Service.EndBreakGlass)),
		route(http.MethodPost, one+"/review", access.ReviewBreakGlass, ok, changes, bare, bodyAbout("emergency", Service.ReviewBreakGlass)),
	}
}

func breakGlass(x *exchange, call vault.Call) (*api.Page[api.BreakGlass], error) {
	limit, err := x.query.limit()
	if err != nil {
		return nil, err
	}
	var open *bool
	if said := x.query.text("open"); said != "" {
		is, err := strconv.ParseBool(said)
		if err != nil || said != strconv.FormatBool(is) {
			return nil, fault.Bad("open", "true or false")
		}
		open = &is
	}
	return x.service.BreakGlass(x.r.Context(), call, open, limit, x.query.text("cursor"))
}
