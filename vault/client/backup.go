package client

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/backup"
	"github.com/sandyq/sandyq/vault/fault"
)

// TakeBackup asks for a backup. ask writes what the repository has (backup.Repository.WriteRequest); what is answered goes to
// backup.Repository.Receive, which makes an error of a problem in it by BackupProblem.
func (c *Client) TakeBackup(ctx context.Context, ask func(io.Writer) error) (io.ReadCloser, error) {
	body, in := io.Pipe()
	asked := make(chan struct{})
	r := request{
		operation: "take a backup", method: http.MethodPost, path: "/v1/backups", effect: once,
		header: http.Header{"Content-Type": {backup.MediaType}},
	}
	r.stream = func() (io.Reader, int64, error) { return body, -1, nil }
	go func() {
		defer close(asked)
		_ = in.CloseWithError(ask(in)) // always nil
	}()
	var stream io.ReadCloser
	err := c.do(ctx, r, func(resp *http.Response) error {
		stream = resp.Body
		return nil
	})
	_ = body.Close() // the server answers when it has read all, or wants no more
	<-asked
	return stream, err
}

// BackupProblem rebuilds the failure that a backup's stream tells of.
func BackupProblem(b []byte) error {
	var p api.Problem
	if json.Unmarshal(b, &p) != nil || p.Code == "" {
		return errors.New("take a backup: the server failed and does not say how")
	}
	return &fault.Error{Code: p.Code, Detail: p.Detail, Fields: p.Errors}
}
