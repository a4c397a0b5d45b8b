package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sandyq/sandyq/vault/api"
)

// MarkCanary makes a person, or one token, a canary, whose every use alerts. Marking again answers the same.
func (c *Client) MarkCanary(ctx context.Context, in *api.MarkCanaryRequest) (*api.Canary, error) {
	return call[api.Canary](ctx, c, request{operation: "mark a canary", method: http.MethodPost, path: "/v1/canaries"}, in)
}

// Canaries lists the canaries, the oldest first.
func (c *Client) Canaries(ctx context.Context) (*api.Page[api.Canary], error) {
	return call[api.Page[api.Canary]](ctx, c, request{operation: "list canaries", method: http.MethodGet, path: "/v1/canaries"}, nil)
}

// UnmarkCanary makes a canary like any other again. It is named by its id, or a person by theirs.
func (c *Client) UnmarkCanary(ctx context.Context, canary string) (*api.Canary, error) {
	return call[api.Canary](ctx, c, request{operation: "unmark a canary", method: http.MethodDelete, path: "/v1/canaries/" + segment(canary)}, nil)
}

// BudgetUse tells what was used of the budgets in the last days (1 to 35), and what limits that suggests with headroom, a
// factor from 1 to 100. Zero leaves either to the server.
func (c *Client) BudgetUse(ctx context.Context, days int, headroom float64) (*api.Budgets, error) {
	v := url.Values{}
	if days != 0 {
		v.Set("days", strconv.Itoa(days))
	}
	if headroom != 0 {
		v.Set("headroom", strconv.FormatFloat(headroom, 'g', -1, 64))
	}
	return call[api.Budgets](ctx, c, request{operation: "tell what budgets are used for", method: http.MethodGet, path: withQuery("/v1/access/budgets", v)}, nil)
}
