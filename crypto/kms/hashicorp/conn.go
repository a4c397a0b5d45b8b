package hashicorp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/sandyq/sandyq/crypto/kms"
)

const (
	keyChunk  = 50       // keys to one timeout and one Transit request
	macChunk  = 500      // MAC inputs to one timeout and one Transit request
	parallel  = 16       // KV requests of one call at once
	lanes     = 48       // KV requests of all calls of an identity at once; the other connections are for what does not wait behind them
	attempts  = 3        // of one request that may be repeated
	maxAnswer = 16 << 20 // bytes
)

// conn is one identity's way to the server.
type conn struct {
	timeout   time.Duration
	transport *http.Transport
	session   *session
	breaker   breaker
	lanes     chan struct{} // holds a value for each KV request of each
}

// newConn starts the identity's session, which ends with ctx; wait waits for it.
func newConn(ctx context.Context, c Config, a *identity, n names) (*conn, error) {
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	if a.Method == MethodCert {
		transport.TLSClientConfig.GetClientCertificate = a.showCertificate
	}
	if _, err := newClient(c, transport, ""); err != nil {
		return nil, err
	}
	return &conn{
		timeout:   c.Timeout,
		transport: transport,
		lanes:     make(chan struct{}, lanes),
		session: startSession(ctx, c.Timeout, func(ctx context.Context) (lease, error) {
			return a.login(ctx, c, n, transport)
		}),
	}, nil
}

func (c *conn) wait() {
	c.session.wait()
	c.breaker.stop()
	c.transport.CloseIdleConnections()
}

// operate runs one operation of one or more requests within the timeout, unless the server is known to be away.
func (c *conn) operate(ctx context.Context, f func(context.Context) error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := c.breaker.admit(); err != nil {
		return err
	}
	within, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow)
	defer cancel()
	err := f(within)
	c.breaker.settle(judge(err, ctx.Err() != nil))
	return public(err)
}

var errSlow = fmt.Errorf("%w: no answer in time", kms.ErrUnavailable)

// request is one request to Vault.
type request struct {
	method string // GET, PUT or DELETE
	path   string
	body   any  // encoded as JSON; nil for none
	once   bool // may not be repeated when it may have arrived
}

// do sends a request and decodes the answer into out, unless that is nil.
func (c *conn) do(ctx context.Context, r request, out any) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	for attempt := 1; ; attempt++ {
		client, err := c.session.client(ctx)
		if err != nil {
			return err
		}
		after, err := send(ctx, client, r, body, out)
		if errors.Is(err, errDenied) {
			after, err = c.again(ctx, client, r, body, out)
		}
		repeatable := errors.Is(err, kms.ErrUnavailable) && (!r.once || neverArrived(err))
		if !repeatable || attempt == attempts || ctx.Err() != nil {
			return err
		}
		if !pauseBefore(ctx, max(after, backoff(attempt))) {
			return err
		}
	}
}

// again repeats a denied request under a new token if the old one has ended. A denied request had no effect.
func (c *conn) again(ctx context.Context, client *api.Client, r request, body []byte, out any) (time.Duration, error) {
	if c.session.current().client == client { // else another caller has found out
		_, err := send(ctx, client, request{method: http.MethodGet, path: "auth/token/lookup-self"}, nil, nil)
		if err == nil {
			return 0, errDenied // the token lives, so the policy denies
		}
		if !errors.Is(err, errDenied) {
			return 0, err
		}
	}
	client, err := c.session.replace(ctx, client)
	if err != nil {
		return 0, err
	}
	return send(ctx, client, r, body, out)
}

// send makes one attempt. It also returns how long the server asks to be left alone.
func send(ctx context.Context, client *api.Client, r request, body []byte, out any) (time.Duration, error) {
	var response *api.Response
	var err error
	switch r.method {
	case http.MethodGet:
		response, err = client.Logical().ReadRawWithContext(ctx, r.path)
	case http.MethodPut:
		response, err = client.Logical().WriteRawWithContext(ctx, r.path, body)
	case http.MethodDelete:
		response, err = client.Logical().DeleteRawWithContext(ctx, r.path)
	}
	if response != nil {
		defer func() { _ = response.Body.Close() }() // it was only read
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // errSlow and errClosed say more than "context canceled"
		}
		if err = classify(err); errors.Is(err, errRefused) && withheld(response) {
			return 0, fmt.Errorf("%w: min_decryption_version or min_encryption_version is above a version in use", kms.ErrWithheld)
		}
		return retryAfter(response), err
	}
	if response.StatusCode >= 300 { // a redirect that the SDK does not follow
		return 0, statusError(response.StatusCode)
	}
	return 0, decode(response.Body, out)
}

func decode(body io.Reader, out any) error {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	defer clear(b) // may hold keys
	if err != nil || len(b) > maxAnswer {
		return fmt.Errorf("%w: the answer is cut off or too long", kms.ErrUnavailable)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil { // whose text may quote the answer
		return fmt.Errorf("%w: the answer is not what Vault answers", kms.ErrUnavailable)
	}
	return nil
}

// backoff is 25 to 75 ms, doubling.
func backoff(attempt int) time.Duration {
	base := 25 * time.Millisecond << (attempt - 1)
	return base + rand.N(2*base) //nolint:gosec // jitter
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pauseBefore is pause, but does not begin one that ctx's deadline would end.
func pauseBefore(ctx context.Context, d time.Duration) bool {
	waiting, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	end, _ := waiting.Deadline()
	if deadline, ok := ctx.Deadline(); ok && !end.Before(deadline) {
		return false
	}
	<-waiting.Done()
	return ctx.Err() == nil
}

// chunks calls f for each stretch of at most size of 0 … n-1, one after another, each as one operation.
func (c *conn) chunks(ctx context.Context, n, size int, f func(ctx context.Context, from, to int) error) error {
	for from := 0; from < n; from += size {
		err := c.operate(ctx, func(ctx context.Context) error { return f(ctx, from, min(from+size, n)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls f for 0 … n-1, several at once, until one fails, and waits for all that it called. KV has no batches.
func (c *conn) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range n {
		group.Go(func() error {
			select {
			case c.lanes <- struct{}{}:
				defer func() { <-c.lanes }()
			case <-ctx.Done():
			}
			if err := ended(ctx); err != nil {
				return err
			}
			return f(ctx, i)
		})
	}
	return group.Wait()
}
