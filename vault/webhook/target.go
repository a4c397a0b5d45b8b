package webhook

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sandyq/sandyq/crypto/secret"
)

// Target is a receiver.
type Target struct {
	URL    string       // https, or http to this machine's loopback
	Secret secret.Bytes // at least MinSecret bytes
	CAFile string       // PEM of the authorities to trust; empty for the system's
}

// receiver is a target made ready.
type receiver struct {
	url    string
	host   string // for errors
	secret secret.Bytes
	client *http.Client
}

// newReceiver checks a target. Its errors say nothing of the address: it may hold a secret anywhere.
func newReceiver(t Target, o Options) (*receiver, error) {
	u, err := ParseAddress(t.URL)
	if err != nil {
		return nil, err
	}
	if t.Secret.Len() < MinSecret {
		return nil, fmt.Errorf("the secret has fewer than %d bytes", MinSecret)
	}
	client, err := NewClient(t.CAFile, o)
	if err != nil {
		return nil, err
	}
	return &receiver{url: t.URL, host: u.Host, secret: t.Secret, client: client}, nil
}

// ParseAddress reads where something may be sent to: https, or http to this machine's loopback, and no user. Its errors say nothing of it.
func ParseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("the address is not a URL with a host")
	case u.User != nil:
		return nil, errors.New("the address names a user: receivers know the sender by its signature")
	case u.Fragment != "":
		return nil, errors.New("the address has a fragment")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, errors.New("the address is neither https nor http to the loopback")
	}
	return u, nil
}

// NewClient is what sends to one address of another house: it follows no redirect, uses no proxy, and bounds the time of an attempt and the
// headers of an answer. The body of an answer is its caller's to bound. It takes of o the Timeout and the Idle, and their defaults. caFile
// is PEM of the authorities to trust; empty: the system's.
func NewClient(caFile string, o Options) (*http.Client, error) {
	o.Timeout, o.Idle = cmp.Or(o.Timeout, 5*time.Second), cmp.Or(o.Idle, time.Minute)
	transport, err := newTransport(caFile, o)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const maxHeader = 16 << 10 // bytes of an answer's headers

// newTransport uses no proxy, whatever the environment names.
func newTransport(caFile string, o Options) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: o.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:           1,
		IdleConnTimeout:        o.Idle,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the authorities to trust: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", caFile)
	}
	return t, nil
}
