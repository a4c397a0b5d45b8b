package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// TransparencyLog publishes the tree over the audit log, as c2sp.org/tlog-tiles lays it out.
type TransparencyLog interface {
	LogCheckpoint(context.Context, vault.Call) ([]byte, error)
	LogTile(ctx context.Context, call vault.Call, path string) ([]byte, error)
	LogKeys(context.Context, vault.Call) (*api.LogKeys, error)
	RotateLogKey(context.Context, vault.Call) (*api.LogKeys, error)
}

// Reading the tree is reading the log: one permission.
const (
	opCheckpoint = "log.checkpoint"
	opTile       = "log.tile"
	opLogKeys    = "log.keys"
)

var (
	typeNote  = []string{"text/plain; charset=utf-8"}
	typeBytes = []string{"application/octet-stream"}
)

func logRoutes() []Route {
	const get, ok = http.MethodGet, http.StatusOK
	return []Route{
		route(get, "/v1/audit/checkpoint", opCheckpoint, ok, false, false, raw(typeNote, func(x *exchange, call vault.Call) ([]byte, error) {
			return x.service.LogCheckpoint(x.r.Context(), call)
		})),
		route(get, "/v1/audit/tile/{path...}", opTile, ok, false, false, raw(typeBytes, func(x *exchange, call vault.Call) ([]byte, error) {
			return x.service.LogTile(x.r.Context(), call, "tile/"+x.r.PathValue("path"))
		})),
		route(get, "/v1/audit/keys", opLogKeys, ok, false, false, plain(Service.LogKeys)),
		route(http.MethodPost, "/v1/audit/keys/rotate", access.RotateLogKey, ok, false, false, plain(Service.RotateLogKey)),
	}
}

// raw is the shape of a call that answers bytes of a format that is not JSON.
func raw(contentType []string, do func(*exchange, vault.Call) ([]byte, error)) shape {
	return shape{handle: func(x *exchange, call vault.Call) error {
		data, err := do(x, call)
		if err != nil {
			return err
		}
		h := x.Header()
		h["Content-Type"] = contentType
		h["Content-Length"] = []string{strconv.Itoa(len(data))}
		x.ours = true
		x.guard(x.lapsed)
		x.WriteHeader(x.route.Status)
		_, _ = x.Write(data) // a client that is gone misses its answer; there is nobody else to tell
		return nil
	}}
}
