package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// Tokenize stores people's values and answers with tokens, in the order of the items.
func (c *Client) Tokenize(ctx context.Context, in *api.TokenizeRequest) (*api.TokenizeResponse, error) {
	return call[api.TokenizeResponse](ctx, c, request{operation: "tokenize", method: http.MethodPost, path: "/v1/tokenize", effect: changes}, in)
}

// Detokenize turns tokens back into values, in the order of the tokens.
func (c *Client) Detokenize(ctx context.Context, in *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
	return call[api.DetokenizeResponse](ctx, c, request{operation: "detokenize", method: http.MethodPost, path: "/v1/detokenize"}, in)
}

// DescribeTokens tells what tokens stand for, never a value.
func (c *Client) DescribeTokens(ctx context.Context, tokens ...string) (*api.DescribeResponse, error) {
	return call[api.DescribeResponse](ctx, c, request{operation: "describe tokens", method: http.MethodPost, path: "/v1/tokens/describe"},
		&api.TokensRequest{Tokens: tokens})
}

// RevokeTokens retires the calling system's tokens; the data stays.
func (c *Client) RevokeTokens(ctx context.Context, tokens ...string) (*api.RevokeResponse, error) {
	return call[api.RevokeResponse](ctx, c, request{operation: "revoke tokens", method: http.MethodPost, path: "/v1/tokens/revoke", effect: changes},
		&api.TokensRequest{Tokens: tokens})
}

// Search finds people by an exact value of a searchable field.
func (c *Client) Search(ctx context.Context, in *api.SearchRequest) (*api.SearchResponse, error) {
	return call[api.SearchResponse](ctx, c, request{operation: "search", method: http.MethodPost, path: "/v1/search"}, in)
}
