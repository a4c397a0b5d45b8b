package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// SubjectRecipients lists who has something of a person: the systems that hold them, and a page of the disclosures to third
// parties. Zero leaves the limit to the server.
func (c *Client) SubjectRecipients(ctx context.Context, subject string, limit int, cursor string) (*api.SubjectRecipients, error) {
	return call[api.SubjectRecipients](ctx, c, request{operation: "list recipients", method: http.MethodGet, path: withQuery(about(subject, "/recipients"), page(limit, cursor))}, nil)
}

// RecordTransfer records a disclosure that happened outside the vault.
func (c *Client) RecordTransfer(ctx context.Context, subject string, in *api.RecordTransferRequest) (*api.Transfer, error) {
	return call[api.Transfer](ctx, c, request{operation: "record a transfer", method: http.MethodPost, path: about(subject, "/transfers"), effect: changes}, in)
}

// CreateHandoff makes what another system redeems for tokens of its own. Made again after a failure it is another one, and
// what nobody redeems runs out.
func (c *Client) CreateHandoff(ctx context.Context, in *api.CreateHandoffRequest) (*api.Handoff, error) {
	return call[api.Handoff](ctx, c, request{operation: "create a handoff", method: http.MethodPost, path: "/v1/handoffs"}, in)
}

// RedeemHandoff gets the calling system its own tokens of what another has handed off to it.
func (c *Client) RedeemHandoff(ctx context.Context, in *api.RedeemHandoffRequest) (*api.RedeemHandoffResponse, error) {
	return call[api.RedeemHandoffResponse](ctx, c, request{operation: "redeem a handoff", method: http.MethodPost, path: "/v1/handoffs/redeem", effect: changes}, in)
}
