package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// Index tells in which epoch the search index is, and how far a rotation has come.
func (c *Client) Index(ctx context.Context) (*api.Index, error) {
	return call[api.Index](ctx, c, request{operation: "show the search index", method: http.MethodGet, path: "/v1/index"}, nil)
}

// RotateIndex begins a rotation of the search index, which goes on by itself. While one runs, that is the one answered.
func (c *Client) RotateIndex(ctx context.Context) (*api.Index, error) {
	return call[api.Index](ctx, c, request{operation: "rotate the search index", method: http.MethodPost, path: "/v1/index/rotate", effect: changes}, nil)
}
