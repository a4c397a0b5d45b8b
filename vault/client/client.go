// Package client is the Go SDK of Sandyq: one method a call, over the types of package api.
//
// # Errors
//
// A call that the server refuses returns an error that wraps *fault.Error with the server's code, so that
// errors.Is(err, fault.Blocked) holds here as it does in the server, and errors.As gives the fields at fault and the time
// to wait. Its text names the operation and the request's id, under which the server's log has the rest. The items of a
// batch carry errors of their own: result.Error.Err().
//
// # Retries
//
// A call that fails on the way (no connection, a lost answer, 503) has an unknown outcome. Every call that changes
// something carries an Idempotency-Key, so the client repeats it by itself until it knows, a few times and within the
// context's deadline, and the server acts once. [WithKey] sets the key, to go on repeating after the process has died.
// Two calls are not repeated: the making of a service token, whose secret is answered once, and the upload of a document
// from a reader that cannot go back.
//
// # What it keeps to itself
//
// The client logs nothing. Printing it shows the server's address and never the token. It follows no redirect, so that
// the token goes to the server it was made for.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sandyq/sandyq/crypto/secret"
)

// Client calls one server with one credential. It is safe for concurrent use; make one and keep it.
type Client struct {
	base     string // scheme and authority, and the path before /v1 if there is one; no slash at the end
	token    secret.String
	http     *http.Client
	attempts int
}

// Option changes how a Client is made.
type Option func(*options)

type options struct {
	transport http.RoundTripper
	tls       *tls.Config
	attempts  int
}

// WithTLS sets the roots to trust and the client's certificate. The default trusts the system's roots.
func WithTLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// WithTransport replaces the connections altogether; WithTLS then has no effect.
func WithTransport(t http.RoundTripper) Option { return func(o *options) { o.transport = t } }

// WithAttempts sets how often a call is tried, the first time included; 1 never repeats. The default is 4.
func WithAttempts(n int) Option { return func(o *options) { o.attempts = n } }

// The connections of a client: enough idle ones for a busy service, closed before the server (two minutes) closes them.
const (
	maxIdle      = 256
	idleTimeout  = 60 * time.Second
	dialTimeout  = 5 * time.Second
	shakeTimeout = 5 * time.Second
)

// New makes a client of the server at baseURL, such as https://vault.example:7440, with a service token.
func New(baseURL, token string, opts ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("client: the base URL must be http(s)://host[:port][/path]") // without err, which repeats it
	}
	o := options{attempts: 4}
	for _, opt := range opts {
		opt(&o)
	}
	if o.attempts < 1 {
		return nil, errors.New("client: a call is tried at least once")
	}
	if o.transport == nil {
		o.transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     o.tls,
			TLSHandshakeTimeout: shakeTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        maxIdle,
			MaxIdleConnsPerHost: maxIdle,
			IdleConnTimeout:     idleTimeout,
			DisableCompression:  true,
		}
	}
	return &Client{
		base: strings.TrimSuffix(u.String(), "/"), token: secret.NewString(token), attempts: o.attempts,
		http: &http.Client{
			Transport:     o.transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close drops the idle connections. Calls may still be made.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Format shows the server's address under every verb, never the token.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "client(%s)", c.base) }
