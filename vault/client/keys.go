package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sandyq/sandyq/vault/api"
)

// ConfirmSnapshot says that a snapshot of the key provider was taken whole and is kept.
func (c *Client) ConfirmSnapshot(ctx context.Context, in *api.ConfirmSnapshotRequest) (*api.KeySnapshot, error) {
	return call[api.KeySnapshot](ctx, c, request{operation: "confirm a snapshot of the keys", method: http.MethodPost, path: "/v1/keys/snapshot"}, in)
}

// KeySnapshot tells up to when snapshots of the key provider contain every key.
func (c *Client) KeySnapshot(ctx context.Context) (*api.KeySnapshot, error) {
	return call[api.KeySnapshot](ctx, c, request{operation: "tell of snapshots of the keys", method: http.MethodGet, path: "/v1/keys/snapshot"}, nil)
}

// MissingKeys looks for living people whose keys are missing, among the next people after a cursor, so many as the limit says.
// A page may be empty and still go on.
func (c *Client) MissingKeys(ctx context.Context, limit int, cursor string) (*api.Page[api.MissingKey], error) {
	v := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	return call[api.Page[api.MissingKey]](ctx, c, request{operation: "look for missing keys", method: http.MethodGet, path: withQuery("/v1/keys/missing", v)}, nil)
}
