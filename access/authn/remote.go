package authn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// What an issuer may answer: so many bytes, in that time.
const (
	maxAnswer   = 1 << 20
	answerLimit = 10 * time.Second
)

// newClient makes the client for one issuer's endpoints. It follows no redirect: what an issuer's own document names is where
// things are.
func newClient(caFile string) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ca_file: holds no certificate in PEM")
		}
	}
	return &http.Client{
		Transport: guarded{&http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true,
			MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: fetchLimit, MaxResponseHeaderBytes: 64 << 10,
		}},
		Timeout:       answerLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// guarded sees that an issuer's documents are named by URLs of which nobody else can answer, are no longer than maxAnswer,
// and stand in no error when they are not what was asked for.
type guarded struct{ transport *http.Transport }

// RoundTrip implements http.RoundTripper.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !private(r.URL) {
		return nil, errors.New("the issuer names a URL that is neither https nor loopback")
	}
	resp, err := g.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodGet && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // nobody reads it
		return nil, fmt.Errorf("the issuer answers with status %d", resp.StatusCode)
	}
	resp.Body = bounded{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (g guarded) CloseIdleConnections() { g.transport.CloseIdleConnections() }

// bounded is a body that ends at a limit: in the middle of its JSON, which then does not decode.
type bounded struct {
	io.Reader
	io.Closer
}
