package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"
)

// administrator sends what the operator's token may do, one request at a time and none twice.
type administrator struct {
	names  names
	client *api.Client
	config Config
	idle   func() // closes idle connections
}

// administrate makes an administrator for a mount and a tenant.
func (o Operator) administrate(mount, tenant string) (*administrator, error) {
	c, err := Config{
		Address: o.Address, CAFile: o.CAFile, TLSServerName: o.TLSServerName, Namespace: o.Namespace, Mount: mount, Tenant: tenant,
		Auth: Auth{Method: MethodToken},
	}.complete()
	if err != nil {
		return nil, err
	}
	if o.Token.Expose() == "" {
		return nil, errors.New("there is no token")
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	client, err := newClient(c, transport, o.Token.Expose())
	return &administrator{names{c.Mount, c.Tenant}, client, c, transport.CloseIdleConnections}, err
}

func (a *administrator) read(ctx context.Context, path string, out any) error {
	_, err := send(ctx, a.client, request{method: http.MethodGet, path: path}, nil, out)
	return err
}

// list reads the names in a folder.
func (a *administrator) list(ctx context.Context, path string) ([]string, error) {
	var answer struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	response, err := a.client.Logical().ReadRawWithDataWithContext(ctx, path, map[string][]string{"list": {"true"}})
	if response != nil {
		defer func() { _ = response.Body.Close() }() // it was only read
	}
	if err != nil {
		return nil, classify(err)
	}
	err = decode(response.Body, &answer)
	return answer.Data.Keys, err
}

func (a *administrator) write(ctx context.Context, path string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = send(ctx, a.client, request{method: http.MethodPut, path: path}, b, out)
	return err
}

func (a *administrator) remove(ctx context.Context, path string) error {
	_, err := send(ctx, a.client, request{method: http.MethodDelete, path: path}, nil, nil)
	return err
}

// mount is what sys/mounts and sys/auth say of one.
type mount struct {
	Type    string            `json:"type"`
	Options map[string]string `json:"options"`
}

func (m mount) String() string {
	if v := m.Options["version"]; v != "" {
		return m.Type + " version " + v
	}
	return m.Type
}

// mountedAt is a mount and its path.
type mountedAt struct {
	path string
	mount
}

// mounts are those of a set-up.
func (n names) mounts() []mountedAt {
	return []mountedAt{
		{n.mount, mount{"kv", map[string]string{"version": "1"}}},
		{n.transitMount(), mount{"transit", nil}},
		{n.generationMount(), mount{"kv", map[string]string{"version": "2"}}},
	}
}

// mounted reads what is mounted: sys/mounts or sys/auth.
func (a *administrator) mounted(ctx context.Context, path string) (map[string]mount, error) {
	var there struct {
		Data map[string]mount `json:"data"`
	}
	err := a.read(ctx, path, &there)
	return there.Data, err
}

// policy reads the text of a policy.
func (a *administrator) policy(ctx context.Context, name string) (string, error) {
	var answer struct {
		Data struct {
			Policy string `json:"policy"`
		} `json:"data"`
	}
	err := a.read(ctx, "sys/policies/acl/"+name, &answer)
	return answer.Data.Policy, err
}
