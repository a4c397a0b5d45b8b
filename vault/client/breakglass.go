package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sandyq/sandyq/vault/api"
)

// StartBreakGlass declares an emergency.
func (c *Client) StartBreakGlass(ctx context.Context, in *api.BreakGlassRequest) (*api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, request{operation: "declare an emergency", method: http.MethodPost, path: "/v1/break-glass", effect: changes}, in)
}

// BreakGlass lists a page of the emergencies: with open those that last or are not reviewed, or the others, or all when open
// is nil. Zero leaves the limit to the server.
func (c *Client) BreakGlass(ctx context.Context, open *bool, limit int, cursor string) (*api.Page[api.BreakGlass], error) {
	v := page(limit, cursor)
	if open != nil {
		v.Set("open", strconv.FormatBool(*open))
	}
	return call[api.Page[api.BreakGlass]](ctx, c, request{operation: "list emergencies", method: http.MethodGet, path: withQuery("/v1/break-glass", v)}, nil)
}

// EndBreakGlass ends an emergency before its time. When it returns nothing is decided in it any more.
func (c *Client) EndBreakGlass(ctx context.Context, emergency string) (*api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, request{operation: "end an emergency", method: http.MethodPost, path: emergencyPath(emergency) + "/end", effect: changes}, nil)
}

// ReviewBreakGlass adds the caller's review of an emergency that is over.
func (c *Client) ReviewBreakGlass(ctx context.Context, emergency string, in *api.BreakGlassReviewRequest) (*api.BreakGlass, error) {
	return call[api.BreakGlass](ctx, c, request{operation: "review an emergency", method: http.MethodPost, path: emergencyPath(emergency) + "/review", effect: changes}, in)
}

func emergencyPath(emergency string) string { return "/v1/break-glass/" + segment(emergency) }
