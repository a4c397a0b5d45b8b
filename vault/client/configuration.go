package client

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
)

// The calls that put a configuration object may be repeated as they are: putting what there is changes nothing, and asking
// for the same change again, while it waits, finds the one that waits.

// read sends a GET.
func read[Out any](ctx context.Context, c *Client, operation, path string) (*Out, error) {
	return call[Out](ctx, c, request{operation: operation, method: http.MethodGet, path: path}, nil)
}

func put(ctx context.Context, c *Client, operation, path string, in any) (*api.Change, error) {
	return call[api.Change](ctx, c, request{operation: operation, method: http.MethodPut, path: path}, in)
}

// Purposes lists the purposes of processing.
func (c *Client) Purposes(ctx context.Context) (*api.Page[api.Purpose], error) {
	return read[api.Page[api.Purpose]](ctx, c, "list purposes", "/v1/purposes")
}

// Purpose shows one purpose of processing.
func (c *Client) Purpose(ctx context.Context, name string) (*api.Purpose, error) {
	return read[api.Purpose](ctx, c, "show a purpose", "/v1/purposes/"+segment(name))
}

// PurposeVersions lists every version of a purpose, from the first.
func (c *Client) PurposeVersions(ctx context.Context, name string) (*api.Page[api.Purpose], error) {
	return read[api.Page[api.Purpose]](ctx, c, "list the versions of a purpose", "/v1/purposes/"+segment(name)+"/versions")
}

// PutPurpose makes or changes a purpose. The change is in effect, or waits for approvals: see its State.
func (c *Client) PutPurpose(ctx context.Context, name string, in *api.Purpose) (*api.Change, error) {
	return put(ctx, c, "change a purpose", "/v1/purposes/"+segment(name), in)
}

// Recipients lists the third parties that data may be disclosed to.
func (c *Client) Recipients(ctx context.Context) (*api.Page[api.Recipient], error) {
	return read[api.Page[api.Recipient]](ctx, c, "list recipients", "/v1/recipients")
}

// Recipient shows one recipient.
func (c *Client) Recipient(ctx context.Context, name string) (*api.Recipient, error) {
	return read[api.Recipient](ctx, c, "show a recipient", "/v1/recipients/"+segment(name))
}

// PutRecipient registers a recipient, or changes its registration.
func (c *Client) PutRecipient(ctx context.Context, name string, in *api.Recipient) (*api.Change, error) {
	return put(ctx, c, "change a recipient", "/v1/recipients/"+segment(name), in)
}

// Systems lists the registered systems.
func (c *Client) Systems(ctx context.Context) (*api.Page[api.System], error) {
	return read[api.Page[api.System]](ctx, c, "list systems", "/v1/systems")
}

// System shows the registration of a system.
func (c *Client) System(ctx context.Context, name string) (*api.System, error) {
	return read[api.System](ctx, c, "show a system", "/v1/systems/"+segment(name))
}

// PutSystem registers a system, or changes its registration.
func (c *Client) PutSystem(ctx context.Context, name string, in *api.System) (*api.Change, error) {
	return put(ctx, c, "change a system", "/v1/systems/"+segment(name), in)
}

// Policies shows the access policies that were put over the API.
func (c *Client) Policies(ctx context.Context) (*api.Policies, error) {
	return read[api.Policies](ctx, c, "show the policies", "/v1/policies")
}

// PutPolicies replaces the whole set of access policies.
func (c *Client) PutPolicies(ctx context.Context, in *api.Policies) (*api.Change, error) {
	return put(ctx, c, "change the policies", "/v1/policies", in)
}

// Change shows a change of the configuration.
func (c *Client) Change(ctx context.Context, change string) (*api.Change, error) {
	return read[api.Change](ctx, c, "show a change", "/v1/changes/"+segment(change))
}

// ApproveChange approves a change that another asked for. A digest says what the approver saw.
func (c *Client) ApproveChange(ctx context.Context, change, digest string) (*api.Change, error) {
	r := request{operation: "approve a change", method: http.MethodPost, path: "/v1/changes/" + segment(change) + "/approve", effect: changes}
	return call[api.Change](ctx, c, r, &api.ApproveChangeRequest{Digest: digest})
}

// CancelChange takes back a change that waits.
func (c *Client) CancelChange(ctx context.Context, change string) (*api.Change, error) {
	r := request{operation: "cancel a change", method: http.MethodPost, path: "/v1/changes/" + segment(change) + "/cancel", effect: changes}
	return call[api.Change](ctx, c, r, nil)
}
