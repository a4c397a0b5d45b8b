package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sandyq/sandyq/crypto/secret"
)

// Operator is who runs the server, with a token that may do more than Sandyq ever does.
type Operator struct {
	Address       string // as in Config
	CAFile        string // as in Config
	TLSServerName string // as in Config
	Namespace     string // as in Config
	Token         secret.String
}

// Snapshot streams a snapshot of the server's integrated storage: every key in it, under the server's own barrier key. The
// token needs to read sys/storage/raft/snapshot. A stream that ends may have been cut; the archive itself says so. The
// caller closes it.
func (o Operator) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	r, err := o.snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: take a snapshot: %w", err)
	}
	return r, nil
}

func (o Operator) snapshot(ctx context.Context) (io.ReadCloser, error) {
	if o.Token.Expose() == "" {
		return nil, errors.New("there is no token")
	}
	c, err := Config{Address: o.Address, CAFile: o.CAFile, TLSServerName: o.TLSServerName, Namespace: o.Namespace, Auth: Auth{Method: MethodToken}}.complete()
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	transport.DisableKeepAlives = true // one request
	client, err := newClient(c, transport, o.Token.Expose())
	if err != nil {
		return nil, err
	}
	response, err := client.Logical().ReadRawWithContext(ctx, "sys/storage/raft/snapshot")
	if err != nil {
		if response != nil {
			err = errors.Join(err, response.Body.Close())
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("%w (only integrated storage has snapshots, and the token must be allowed to read sys/storage/raft/snapshot)",
			classify(err))
	}
	if response.StatusCode != http.StatusOK { // a redirect that the SDK does not follow, or a page
		return nil, errors.Join(statusError(response.StatusCode), response.Body.Close())
	}
	return response.Body, nil
}
