package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/sandyq/sandyq/crypto/secret"
)

// FlowConfig is how people log in with an issuer.
type FlowConfig struct {
	Issuer       string
	CAFile       string // PEM, to trust in place of the system's authorities
	ClientID     string
	ClientSecret secret.String // zero for a public client, such as a program on somebody's machine
	RedirectURL  string        // as it is registered with the issuer; the issuer compares it letter for letter
	Scopes       []string      // beside openid
	Algorithms   []string      // of the ID token; default as for an IssuerConfig
}

// Flow is the authorization code flow with PKCE (OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9700). A Flow is of one client and
// one redirect URL; each login is an Attempt. It is safe for concurrent use.
type Flow struct {
	config   FlowConfig
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	client   *http.Client
	saysWho  bool // the issuer names itself in its answers (RFC 9207)
	now      func() time.Time
}

// Attempt is one login. Whoever began it keeps it, out of reach of anybody else, until the answer comes. It is good once.
type Attempt struct {
	State, Nonce, Verifier string
}

// Login is what a login gives.
type Login struct {
	AccessToken secret.String
	Expires     time.Time // of the access token; zero when the issuer does not say
	Subject     string    // as the issuer calls the person
}

// NewFlow asks the issuer where its endpoints are. Close the Flow.
func NewFlow(ctx context.Context, c FlowConfig, o Options) (*Flow, error) {
	if err := checkURL(c.Issuer); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	client, err := newClient(c.CAFile)
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), c.Issuer)
	if err != nil {
		client.CloseIdleConnections()
		return nil, fmt.Errorf("discover: %w", err)
	}
	var metadata struct {
		SaysWho bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&metadata); err != nil {
		client.CloseIdleConnections()
		return nil, fmt.Errorf("discover: %w", err)
	}
	// Only an ID token that the issuer itself has just handed over asks for keys: there is nothing to pause for.
	known := IssuerConfig{Name: "login", URL: c.Issuer, Algorithms: c.Algorithms}.withDefaults()
	endpoint := provider.Endpoint()
	if c.ClientSecret.Len() == 0 {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &Flow{
		config: c, client: client, saysWho: metadata.SaysWho, now: o.Now,
		oauth: oauth2.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret.Expose(), Endpoint: endpoint, RedirectURL: c.RedirectURL,
			Scopes: append([]string{oidc.ScopeOpenID}, slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == oidc.ScopeOpenID })...),
		},
		verifier: oidc.NewVerifier(c.Issuer, newKeySet(known, client, 0, o), &oidc.Config{
			ClientID: c.ClientID, SupportedSigningAlgs: known.Algorithms, Now: o.Now,
		}),
	}, nil
}

// Close drops the idle connections.
func (f *Flow) Close() { f.client.CloseIdleConnections() }

// Begin begins a login: at address the person logs in.
func (f *Flow) Begin() (a Attempt, address string) {
	a = Attempt{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	return a, f.oauth.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier))
}

// ErrState reports an answer that is not to this attempt. It may be anybody's; the right one may still come.
var ErrState = errors.New("authn: login: the answer belongs to another attempt")

// Finish ends a login with what came back to the redirect URL. Its errors carry nothing of a token.
func (f *Flow) Finish(ctx context.Context, a Attempt, answer url.Values) (Login, error) {
	code, err := f.code(a, answer)
	if err != nil {
		return Login{}, err
	}
	ctx = oidc.ClientContext(ctx, f.client)
	tokens, err := f.oauth.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return Login{}, exchangeError(err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return Login{}, errors.New("authn: login: the issuer gave no ID token")
	}
	who, err := f.identity(ctx, a, raw, tokens.AccessToken)
	if err != nil {
		return Login{}, err
	}
	made := Login{AccessToken: secret.NewString(tokens.AccessToken), Subject: who.Subject}
	if tokens.ExpiresIn > 0 {
		made.Expires = f.now().Add(time.Duration(tokens.ExpiresIn) * time.Second)
	}
	return made, nil
}

// code is the authorization code in an answer to this attempt.
func (f *Flow) code(a Attempt, answer url.Values) (string, error) {
	// State comes first: whoever does not know it must not be able to end the attempt.
	if states := answer["state"]; a.State == "" || len(states) != 1 || subtle.ConstantTimeCompare([]byte(states[0]), []byte(a.State)) != 1 {
		return "", ErrState
	}
	for _, name := range []string{"code", "iss", "error"} {
		if len(answer[name]) > 1 {
			return "", errors.New("authn: login: the answer repeats a parameter")
		}
	}
	if iss := answer.Get("iss"); (iss != "" || f.saysWho) && iss != f.config.Issuer {
		return "", errors.New("authn: login: the answer is of another issuer")
	}
	if answer.Has("error") {
		return "", fmt.Errorf("authn: login: the issuer refuses: %s", errorCode(answer.Get("error")))
	}
	if answer.Get("code") == "" {
		return "", errors.New("authn: login: the answer has no code")
	}
	return answer.Get("code"), nil
}

// identity verifies the ID token, and that the access token came with it (OpenID Connect Core 1.0, 3.1.3.7 and 3.1.3.8).
func (f *Flow) identity(ctx context.Context, a Attempt, raw, access string) (*oidc.IDToken, error) {
	_, c, err := parse(raw)
	if err != nil {
		return nil, err
	}
	who, err := f.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, errors.New("authn: login: the ID token does not verify") // without err, which repeats claims
	}
	azp, err := c.text("azp")
	if err != nil {
		return nil, err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(who.Nonce), []byte(a.Nonce)) != 1:
		return nil, errors.New("authn: login: the ID token belongs to another attempt (nonce)")
	case azp != "" && azp != f.config.ClientID, azp == "" && len(who.Audience) > 1:
		return nil, errors.New("authn: login: the ID token was made for another client (azp)")
	case who.AccessTokenHash != "" && who.VerifyAccessToken(access) != nil:
		return nil, errors.New("authn: login: the access token belongs to another ID token (at_hash)")
	}
	return who, nil
}

// exchangeError is why a code was not exchanged, without the issuer's whole answer.
func exchangeError(err error) error {
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("authn: login: the issuer does not exchange the code: %s", errorCode(r.ErrorCode))
	}
	return fmt.Errorf("authn: login: exchange the code: %w", err)
}

// errorCode is an error of OAuth (RFC 6749, 4.1.2.1), when it looks like one.
func errorCode(s string) string {
	if len(s) > 64 || !base64url(s) {
		return "with no reason"
	}
	return s
}
