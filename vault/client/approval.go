package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// Waiting lists a page of what waits for somebody's word. Zero leaves the limit to the server.
func (c *Client) Waiting(ctx context.Context, limit int, cursor string) (*api.Page[api.Waiting], error) {
	return call[api.Page[api.Waiting]](ctx, c, request{operation: "list what waits for approval", method: http.MethodGet, path: withQuery("/v1/approvals", page(limit, cursor))}, nil)
}
