// Package bucket is the one place that speaks to S3-compatible storage: for documents (vault/blob/s3), for the erasure ledger
// (vault/ledger/s3) and for the anchor of the log (vault/audit/anchor). It sees the S3 client; nobody else does.
//
// # What it keeps to
//
//   - Keys are given relative to the prefix of a [Bucket], and are the caller's to keep free of personal data. Objects get
//     no metadata, no tags and no access lists: who may read them is the bucket's own affair, and nothing here makes it wider.
//   - What is sent is signed over its SHA-256 and carries its MD5, so a server that does what S3 does stores it whole or not
//     at all. What is got is not checked against anything: its readers verify what they read.
//   - Every request has a deadline: Config.Timeout for one try, and a second more for each MiB that it carries. A try that may
//     have had no effect, or the same effect twice, is repeated twice, after a wait with jitter.
//   - The connection is TLS 1.2 or later, except to this machine's loopback.
//
// # Failures
//
// Each wraps one of [ErrNotFound], [ErrExists], [ErrLocked], [ErrDenied], [ErrNoSpace] and [ErrUnavailable], or is the
// context's, or tells of a request that no repetition mends.
package bucket

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/sandyq/sandyq/crypto/secret"
)

// Config names a bucket. Endpoint, Bucket, Region and the keys are needed.
type Config struct {
	Endpoint  string // https://HOST[:PORT]; http to a loopback address alone
	Bucket    string // made beforehand
	Region    string
	Prefix    string // of all keys, with its slash
	PathStyle bool   // the bucket is in the path and not in the host's name
	CAFile    string // PEM certificates to trust instead of the system's
	AccessKey secret.String
	SecretKey secret.String
	Timeout   time.Duration // of one try of a request that carries little; 5 seconds if zero
}

// defaultTimeout is for one try.
const defaultTimeout = 5 * time.Second

// Bucket is a part of a bucket: what lies under its prefix. It is safe for concurrent use.
type Bucket struct {
	client    minio.Core
	name      string
	prefix    string
	at        string // for people
	timeout   time.Duration
	transport *http.Transport
	features  atomic.Pointer[Features] // nil until they were asked for
}

// Features are what a bucket does with what is put there.
type Features struct {
	Versions   bool // it keeps versions, or has kept them before
	Lock       bool // it has object lock
	Compliance bool // by default it keeps for a time what is put there, and nobody shortens that
}

// New makes a client of a bucket. It asks nothing of the server: see Features.
func New(c Config) (*Bucket, error) {
	b, err := connect(c)
	if err != nil {
		return nil, fmt.Errorf("bucket: %w", err)
	}
	return b, nil
}

func connect(c Config) (*Bucket, error) {
	host, secure, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the endpoint %w", err)
	}
	if err := CheckPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("the prefix %w", err)
	}
	for _, needed := range []struct{ name, value string }{
		{"name", c.Bucket}, {"region", c.Region}, {"access key", c.AccessKey.Expose()}, {"secret key", c.SecretKey.Expose()},
	} {
		if needed.value == "" {
			return nil, fmt.Errorf("no %s is given", needed.name)
		}
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	transport, err := newTransport(c, secure)
	if err != nil {
		return nil, err
	}
	o := &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey.Expose(), c.SecretKey.Expose(), ""),
		Secure: secure, Region: c.Region, Transport: transport,
		MaxRetries: 1, // do repeats, and knows what may be
	}
	if c.PathStyle {
		o.BucketLookup = minio.BucketLookupPath
	}
	client, err := minio.NewCore(host, o)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Endpoint, err)
	}
	return &Bucket{
		client: *client, name: c.Bucket, prefix: c.Prefix, at: c.Bucket + " at " + c.Endpoint, timeout: c.Timeout, transport: transport,
	}, nil
}

// CheckEndpoint refuses what is no endpoint.
func CheckEndpoint(endpoint string) error {
	_, _, err := parseEndpoint(endpoint)
	return err
}

// CheckPrefix refuses what is no prefix: keys under it would not be what they seem.
func CheckPrefix(prefix string) error {
	if prefix != "" && !prefixes.MatchString(prefix) {
		return errors.New("is letters, digits, dots, dashes and slashes, and ends with a slash, such as sandyq/")
	}
	return nil
}

var prefixes = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9._-]{0,99}/){1,5}$`)

func parseEndpoint(endpoint string) (host string, secure bool, err error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", false, errors.New("is https://HOST or https://HOST:PORT")
	}
	switch {
	case u.Scheme == "https":
		return u.Host, true, nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return u.Host, false, nil
	}
	return "", false, errors.New("is https://HOST or https://HOST:PORT; http is for loopback addresses alone")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newTransport(c Config, secure bool) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("prepare connections: %w", err)
	}
	t.DialContext = (&net.Dialer{Timeout: c.Timeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = c.Timeout
	t.MaxIdleConnsPerHost = 64
	if !secure {
		t.Proxy = nil
		return t, nil
	}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s holds no certificate", c.CAFile)
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return t, nil
}

// Features sees that the bucket is there and may be listed under the prefix, and asks what it does with what is put there. It
// changes nothing. Once it has been told it asks no more.
func (b *Bucket) Features(ctx context.Context) (Features, error) {
	if known := b.features.Load(); known != nil {
		return *known, nil
	}
	f, err := b.examine(ctx)
	if err != nil {
		return Features{}, fmt.Errorf("bucket %s: %w", b.at, err)
	}
	b.features.Store(&f)
	return f, nil
}

func (b *Bucket) examine(ctx context.Context) (f Features, err error) {
	for _, err := range b.List(ctx, Listing{Most: 1}) {
		if err != nil {
			return f, err
		}
		break
	}
	err = b.do(ctx, 0, func(ctx context.Context) error {
		v, err := b.client.GetBucketVersioning(ctx, b.name)
		f.Versions = v.Status != "" // suspended, too: versions from before are there
		return err
	})
	if err != nil && !errors.Is(err, errUnsupported) {
		return f, fmt.Errorf("ask whether it keeps versions: %w", err)
	}
	if !f.Versions {
		return f, nil // nor has it object lock, which needs them
	}
	err = b.do(ctx, 0, func(ctx context.Context) error {
		enabled, mode, _, _, err := b.client.GetObjectLockConfig(ctx, b.name)
		f.Lock, f.Compliance = enabled == "Enabled", mode != nil && *mode == minio.Compliance
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, errUnsupported) { // not found: it has none
		return f, fmt.Errorf("ask whether it has object lock: %w", err)
	}
	return f, nil
}

// Close ends connections that are not in use.
func (b *Bucket) Close() { b.transport.CloseIdleConnections() }
