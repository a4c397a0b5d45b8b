package main

import (
	"context"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// people are those who can log in.
type people struct{}

var known = []*storage.User{
	{ID: "e-1042", Username: "aigerim", Password: "verysecure"},
	{ID: "e-2000", Username: "nobody", Password: "verysecure"},
}

func (people) GetUserByID(id string) *storage.User {
	return find(func(u *storage.User) bool { return u.ID == id })
}
func (people) GetUserByUsername(name string) *storage.User {
	return find(func(u *storage.User) bool { return u.Username == name })
}
func (people) ExampleClientID() string { return "service" }

func find(is func(*storage.User) bool) *storage.User {
	if i := slices.IndexFunc(known, is); i >= 0 {
		return known[i]
	}
	return nil
}

// provided is the example's storage, but that access tokens are JWTs for the audience sandyq with claims about people.
type provided struct {
	*storage.Storage
	keys *keys
}

func (p provided) SigningKey(context.Context) (op.SigningKey, error) { return p.keys.signing(), nil }
func (p provided) KeySet(context.Context) ([]op.Key, error)          { return p.keys.set(), nil }

// client is one that gets JWT access tokens.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (p provided) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := p.Storage.GetClientByClientID(ctx, id)
	return client{c}, err
}

func (p provided) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := p.Storage.ClientCredentials(ctx, id, secret)
	return client{c}, err
}

// service is a token request of a service user.
type service struct{ op.TokenRequest }

func (service) GetAudience() []string { return []string{"sandyq"} }

func (p provided) ClientCredentialsTokenRequest(ctx context.Context, id string, scopes []string) (op.TokenRequest, error) {
	r, err := p.Storage.ClientCredentialsTokenRequest(ctx, id, scopes)
	return service{r}, err
}

// request is a login for the client and the audience sandyq.
type request struct{ op.AuthRequest }

func (r request) GetAudience() []string { return append(r.AuthRequest.GetAudience(), "sandyq") }

func (p provided) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r, err := p.Storage.AuthRequestByCode(ctx, code)
	if err != nil {
		return nil, err
	}
	return request{r}, nil
}

func (p provided) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	switch wrapped := r.(type) {
	case request:
		r = wrapped.AuthRequest
	case service:
		r = wrapped.TokenRequest
	}
	return p.Storage.CreateAccessToken(ctx, r)
}

func (p provided) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	if user != "e-1042" {
		return nil, nil
	}
	return map[string]any{
		"realm_access": map[string]any{"roles": []string{"offline_access", "pii-support"}},
		"department":   "cc", "amr": []string{"pwd", "otp"}, "sandyq_systems": []string{"crm"},
	}, nil
}
