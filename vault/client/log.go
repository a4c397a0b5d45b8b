package client

import (
	"context"
	"io"
	"net/http"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// maxPublished bounds a checkpoint, a tile or a bundle of 256 entries, in bytes.
const maxPublished = 256 * (2 + 1<<16)

// LogFile reads a file of the transparency log as c2sp.org/tlog-tiles names it: checkpoint, tile/0/000, tile/entries/000.p/7. It
// is what the server says; package vault/audit/archive checks it.
func (c *Client) LogFile(ctx context.Context, path string) ([]byte, error) {
	return c.bytes(ctx, request{operation: "read the log", method: http.MethodGet, path: "/v1/audit/" + path}, maxPublished)
}

// bytes sends r and reads an answer of at most so many bytes that is not JSON of the API's.
func (c *Client) bytes(ctx context.Context, r request, limit int64) (data []byte, err error) {
	err = c.do(ctx, r, func(resp *http.Response) error {
		defer func() { _ = resp.Body.Close() }() // it was only read
		b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "the answer did not arrive whole")
		}
		data = b
		return nil
	})
	return data, err
}

// LogKeys tells who signs for the transparency log, and the chain of successions that leads there.
func (c *Client) LogKeys(ctx context.Context) (*api.LogKeys, error) {
	return call[api.LogKeys](ctx, c, request{operation: "read the log's keys", method: http.MethodGet, path: "/v1/audit/keys"}, nil)
}

// RotateLogKey has a new key sign the transparency log, beside the one until now for 30 days. It is never repeated by itself:
// each call makes a key.
func (c *Client) RotateLogKey(ctx context.Context) (*api.LogKeys, error) {
	return call[api.LogKeys](ctx, c, request{operation: "rotate the log's key", method: http.MethodPost, path: "/v1/audit/keys/rotate", effect: once}, nil)
}
