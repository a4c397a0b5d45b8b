package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxTokenTTL is how long a token may live unrenewed, and maxTokenLife how long at all, in seconds, before a check finds it
// too long.
const (
	maxTokenTTL  = 60 * 60
	maxTokenLife = 32 * 24 * 60 * 60
)

// checkedRole is what a check asks of a role, of whatever method. What a method does not know is zero.
type checkedRole struct {
	approle
	Period  int    `json:"token_period"` // seconds
	NumUses int    `json:"token_num_uses"`
	Kind    string `json:"token_type"`
	Uses    int    `json:"secret_id_num_uses"` // of approle

	Accounts   []string `json:"bound_service_account_names"`      // of kubernetes
	Namespaces []string `json:"bound_service_account_namespaces"` // of kubernetes
	Audience   string   `json:"audience"`                         // of kubernetes

	Audiences []string       `json:"bound_audiences"` // of jwt
	Subject   string         `json:"bound_subject"`   // of jwt
	Claims    map[string]any `json:"bound_claims"`    // of jwt
	ClaimType string         `json:"bound_claims_type"`
}

// rolePath is where a login's role is; "" when it has none, or does not say which.
func (a Auth) rolePath(who identified) string {
	switch a.Method {
	case MethodAppRole:
		return "auth/" + a.Mount + "/role/" + who.name
	case MethodKubernetes, MethodJWT:
		return "auth/" + a.Mount + "/role/" + a.Role
	case MethodCert:
		if a.Name != "" {
			return "auth/" + a.Mount + "/certs/" + a.Name
		}
	}
	return ""
}

func (k *check) role(ctx context.Context, who identified, auth Auth) error {
	path := auth.rolePath(who)
	if path == "" {
		k.warn("auth/"+or(auth.Mount, MethodToken), "role.unknown", "method %s of %s names no role, so none is checked", auth.Method, who.name)
		return nil
	}
	var answer struct {
		Data checkedRole `json:"data"`
	}
	if ok, err := k.look(ctx, path, "role.missing", &answer); !ok {
		return err
	}
	r := answer.Data
	if !slices.Equal(r.Policies, []string{who.name}) {
		k.find(path, "role.policies", "token_policies are [%s], want %s alone", strings.Join(r.Policies, ", "), who.name)
	}
	if !r.NoDefault {
		k.find(path, "role.default", "its tokens have the policy default too (token_no_default_policy is not set)")
	}
	if r.TTL < 1 || r.TTL > maxTokenTTL {
		k.find(path, "role.ttl", "token_ttl is %d s, want 1 to %d: a stolen token lives as long", r.TTL, maxTokenTTL)
	}
	if r.MaxTTL < 1 || r.MaxTTL > maxTokenLife {
		k.find(path, "role.ttl", "token_max_ttl is %d s, want 1 to %d: a stolen token is renewed as long", r.MaxTTL, maxTokenLife)
	}
	if r.Period != 0 {
		k.find(path, "role.period", "token_period is set: its tokens may be renewed for ever")
	}
	if r.NumUses != 0 {
		k.find(path, "role.uses", "token_num_uses is %d: its tokens end after so many requests", r.NumUses)
	}
	if strings.HasSuffix(r.Kind, "batch") {
		k.find(path, "role.type", "its tokens are batch tokens, which cannot be revoked")
	}
	k.bounds(path, auth.Method, r)
	return nil
}

// bounds looks at who may take the role.
func (k *check) bounds(path, method string, r checkedRole) {
	wild := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.ContainsAny(name, "*?") })
	}
	switch method {
	case MethodAppRole:
		if !r.SecretID {
			k.find(path, "role.bounds", "takes a role id without a secret id (bind_secret_id is off)")
		}
		if r.Uses != 0 {
			k.find(path, "role.uses", "secret_id_num_uses is %d: the secret id ends after so many logins", r.Uses)
		}
	case MethodKubernetes:
		if len(r.Accounts) == 0 || wild(r.Accounts) || len(r.Namespaces) == 0 || wild(r.Namespaces) {
			k.find(path, "role.bounds", "is for service accounts [%s] in namespaces [%s], want each by name",
				strings.Join(r.Accounts, ", "), strings.Join(r.Namespaces, ", "))
		}
		if r.Audience == "" {
			k.warn(path, "role.audience", "takes tokens made for another audience than Vault (audience is not set)")
		}
	case MethodJWT:
		if len(r.Audiences) == 0 || r.Subject == "" && len(r.Claims) == 0 {
			k.find(path, "role.bounds", "is not bound to an audience, and to a subject or claims: any token of the issuer may take it")
		}
		if r.ClaimType == "glob" {
			k.warn(path, "role.bounds", "has claims that are patterns (bound_claims_type is glob)")
		}
	}
}

// tokenOf makes a token of an identity: by its own login, else with its policies. An empty one comes with a finding. end
// revokes it.
func (k *check) tokenOf(ctx context.Context, who identified, auth Auth) (token string, end func(), err error) {
	token, err = k.loggedIn(ctx, auth)
	if errors.Is(err, errNoCredentials) {
		k.warn("auth/"+or(auth.Mount, MethodToken), "rights.policies",
			"the credentials of %s are not at hand, so what its policy allows is asked for, and not what its login does", who.name)
		token, err = k.made(ctx, who)
	}
	path := "auth/" + or(auth.Mount, auth.Method) + "/login"
	switch {
	case errors.Is(err, errDenied), errors.Is(err, errRefused), errors.Is(err, errAbsent), errors.Is(err, errNoRoute):
		k.find(path, "login", "%s gets no token, so what it may do is not known: %v", who.name, err)
		return "", nil, nil
	case err != nil:
		return "", nil, fmt.Errorf("get a token of %s: %w", who.name, err)
	}
	end = func() {
		ctx := context.WithoutCancel(ctx)
		if err := k.write(ctx, "auth/token/revoke", map[string]string{"token": token}, nil); err != nil {
			k.warn("auth/token/revoke", "token.left", "the check's own token of %s could not be revoked and ends by itself", who.name)
		}
	}
	return token, end, k.attached(ctx, who, token)
}

var errNoCredentials = errors.New("there are no credentials here")

// loggedIn logs in as a provider would. The method token has none but the one that serves, which is not to be revoked.
func (k *check) loggedIn(ctx context.Context, auth Auth) (string, error) {
	if auth.Method == MethodToken {
		return "", errNoCredentials
	}
	transport, err := newTransport(k.config)
	if err != nil {
		return "", err
	}
	defer transport.CloseIdleConnections()
	l, err := (&identity{Auth: auth}).logIn(ctx, k.config, transport)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "", errNoCredentials
	case err != nil:
		return "", err
	}
	return l.client.Token(), nil
}

// made has a token made that has the identity's policy and lives for two minutes.
func (k *check) made(ctx context.Context, who identified) (string, error) {
	var answer tokenAnswer
	err := k.write(ctx, "auth/token/create", map[string]any{
		"policies": []string{who.name}, "no_default_policy": true, "ttl": "2m", "explicit_max_ttl": "2m", "renewable": false,
	}, &answer)
	return answer.Auth.Token, err
}

// attached looks at which policies the token has, its entity's and its groups' among them.
func (k *check) attached(ctx context.Context, who identified, token string) error {
	var answer struct {
		Data struct {
			Policies []string `json:"policies"`
			Identity []string `json:"identity_policies"`
		} `json:"data"`
	}
	err := k.write(ctx, "auth/token/lookup", map[string]string{"token": token}, &answer)
	if errors.Is(err, errDenied) {
		k.find("auth/token/lookup", "unreadable", "the token may not look up that of %s, so its policies are not known", who.name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up a token of %s: %w", who.name, err)
	}
	for _, name := range slices.Concat(answer.Data.Policies, answer.Data.Identity) {
		if name != who.name {
			k.find("sys/policies/acl/"+name, "login.policies", "a token of %s has this policy too", who.name)
		}
	}
	return nil
}
