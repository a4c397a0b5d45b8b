package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/sandyq/sandyq/vault/api"
)

// ReviewAccess tells who could see what in a period, and who did. Zero times are the last month.
func (c *Client) ReviewAccess(ctx context.Context, from, to time.Time) (*api.AccessReview, error) {
	v := url.Values{}
	for name, t := range map[string]time.Time{"from": from, "to": to} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return call[api.AccessReview](ctx, c, request{operation: "review access", method: http.MethodGet, path: withQuery("/v1/access/review", v)}, nil)
}
