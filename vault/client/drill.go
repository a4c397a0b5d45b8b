package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// RunDrill begins a canary drill, which goes on by itself. While one runs, that is the one answered.
func (c *Client) RunDrill(ctx context.Context) (*api.Drill, error) {
	return call[api.Drill](ctx, c, request{operation: "run a drill", method: http.MethodPost, path: "/v1/drills"}, nil)
}

// Drills lists the drill that runs and the last ones, the latest first.
func (c *Client) Drills(ctx context.Context) (*api.Page[api.Drill], error) {
	return call[api.Page[api.Drill]](ctx, c, request{operation: "list drills", method: http.MethodGet, path: "/v1/drills"}, nil)
}
