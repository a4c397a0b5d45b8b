package httpapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// Backups streams the store.
type Backups interface {
	TakeBackup(context.Context, vault.Call, vault.BackupAsked) error
}

func backupRoutes() []Route {
	return []Route{route(http.MethodPost, "/v1/backups", access.TakeBackup, http.StatusOK, false, false, shape{handle: takeBackup})}
}

// maxBackupAsk bounds what a client may say it has, in bytes: over twenty million objects.
const maxBackupAsk = 1 << 30

// takeBackup is the handler of a backup: a stream in, a stream out, each at its own pace.
func takeBackup(x *exchange, call vault.Call) error {
	if err := uncoded(x.r.Header); err != nil {
		return err
	}
	if kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || kind != backup.MediaType {
		return fault.New(fault.Unsupported, "the Content-Type must be "+backup.MediaType)
	}
	body := &pacedReader{pace: pace{deadline: x.control().SetReadDeadline}, body: x.body(), left: maxBackupAsk, limit: maxBackupAsk}
	_ = x.control().SetWriteDeadline(time.Time{}) // the answer's time begins when the body has come
	request, err := backup.ReadRequest(body)
	if err != nil {
		if body.err != nil {
			err = body.err
		}
		return fault.Wrap(fault.Invalid, fault.Sender(err), "the body must begin with a request")
	}
	var out *pacedWriter
	begin := func() io.Writer {
		h := x.Header()
		h["Content-Type"] = []string{backup.MediaType}
		x.ours = true
		x.WriteHeader(http.StatusOK)
		out = &pacedWriter{ResponseWriter: x, pace: pace{deadline: x.control().SetWriteDeadline}}
		return out
	}
	err = x.service.TakeBackup(x.r.Context(), call, vault.BackupAsked{Request: request, Begin: begin})
	_ = x.control().SetWriteDeadline(clock.System().Add(patience))
	if err == nil || out == nil {
		return err
	}
	x.fault = fault.From(err)
	if backup.Fail(out, x.problemOf(Status(x.fault.Code), x.fault)) != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}
