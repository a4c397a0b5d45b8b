package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sandyq/sandyq/vault/api"
)

// AuditEntries lists a page of the audit log. Page on with the query's Cursor set to the answer's NextCursor, until that
// is empty.
func (c *Client) AuditEntries(ctx context.Context, q api.AuditQuery) (*api.Page[api.AuditEntry], error) {
	v := page(q.Limit, q.Cursor)
	for name, value := range map[string]string{"subject": q.Subject, "actor": q.Actor, "operation": q.Operation} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return call[api.Page[api.AuditEntry]](ctx, c, request{operation: "list audit entries", method: http.MethodGet, path: withQuery("/v1/audit/entries", v)}, nil)
}

// CreateServiceToken makes a credential. Its secret is answered this once, so the call is never repeated by itself: when
// its outcome is unknown, list the tokens and revoke what nobody holds.
func (c *Client) CreateServiceToken(ctx context.Context, in *api.CreateServiceTokenRequest) (*api.ServiceToken, error) {
	return call[api.ServiceToken](ctx, c, request{operation: "create a service token", method: http.MethodPost, path: "/v1/access/tokens", effect: once}, in)
}

// ServiceTokens lists a page of the credentials, without their secrets. Zero leaves the limit to the server.
func (c *Client) ServiceTokens(ctx context.Context, limit int, cursor string) (*api.Page[api.ServiceToken], error) {
	return call[api.Page[api.ServiceToken]](ctx, c, request{operation: "list service tokens", method: http.MethodGet, path: withQuery("/v1/access/tokens", page(limit, cursor))}, nil)
}

// RotateServiceToken makes a credential that replaces another. Like CreateServiceToken it is never repeated by itself.
func (c *Client) RotateServiceToken(ctx context.Context, id string, in *api.RotateServiceTokenRequest) (*api.ServiceToken, error) {
	return call[api.ServiceToken](ctx, c, request{operation: "rotate a service token", method: http.MethodPost, path: "/v1/access/tokens/" + segment(id) + "/rotate", effect: once}, in)
}

// RevokeServiceToken ends a credential.
func (c *Client) RevokeServiceToken(ctx context.Context, id string) (*api.ServiceToken, error) {
	return call[api.ServiceToken](ctx, c, request{operation: "revoke a service token", method: http.MethodDelete, path: "/v1/access/tokens/" + segment(id)}, nil)
}

// Fields lists the schema.
func (c *Client) Fields(ctx context.Context) (*api.Page[api.FieldInfo], error) {
	return call[api.Page[api.FieldInfo]](ctx, c, request{operation: "list fields", method: http.MethodGet, path: "/v1/fields"}, nil)
}

// Whoami tells what the credential is and may do.
func (c *Client) Whoami(ctx context.Context) (*api.Whoami, error) {
	return call[api.Whoami](ctx, c, request{operation: "whoami", method: http.MethodGet, path: "/v1/whoami"}, nil)
}

func page(limit int, cursor string) url.Values {
	v := url.Values{}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	return v
}

func withQuery(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
