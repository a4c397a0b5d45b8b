package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// maxAnswer bounds a JSON answer that is read into memory, in bytes.
const maxAnswer = 256 << 20

// effect says what repeating a call does.
type effect int

const (
	harmless effect = iota // it may be repeated as it is
	changes                // it may be repeated under its idempotency key
	once                   // it must not be repeated
)

// request is a call as it goes out, possibly several times.
type request struct {
	operation string // for errors
	method    string
	path      string // with the query, escaped
	header    http.Header
	body      []byte                                         // of JSON; nil for none
	stream    func() (body io.Reader, size int64, err error) // of a document; nil for none
	effect    effect
}

// segment escapes one segment of a path.
func segment(s string) string { return url.PathEscape(s) }

// call sends in (nil for none) as JSON and reads a JSON answer.
func call[Out any](ctx context.Context, c *Client, r request, in any) (*Out, error) {
	if in != nil {
		b, err := json.Marshal(in, json.Deterministic(true)) // the same again under the same key must be the same bytes
		if err != nil {
			return nil, fmt.Errorf("%s: encode the request: %w", r.operation, err)
		}
		r.body = b
	}
	out := new(Out)
	err := c.do(ctx, r, func(resp *http.Response) error {
		defer func() { _ = resp.Body.Close() }() // it was only read
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fault.Wrap(fault.Unavailable, err, "the answer did not arrive whole")
		}
		if err := json.Unmarshal(b, out); err != nil {
			return errors.New("the answer is not what the API describes") // err may repeat a value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// do sends r until read has taken a successful answer, whose body it closes, or gives up.
func (c *Client) do(ctx context.Context, r request, read func(*http.Response) error) error {
	key := ""
	if r.effect == changes {
		if key = keyOf(ctx); key == "" {
			key = rand.Text()
		}
	}
	attempts := c.attempts
	if r.effect == once {
		attempts = 1
	}
	for attempt := 1; ; attempt++ {
		resp, err := c.send(ctx, r, key)
		if err == nil {
			err = read(resp)
		}
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", r.operation, err)
		if attempt == attempts || !repeatable(err) || !pause(ctx, attempt, err) {
			return err
		}
	}
}

// send sends r once.
func (c *Client) send(ctx context.Context, r request, key string) (*http.Response, error) {
	var body io.Reader
	size := int64(len(r.body))
	switch {
	case r.stream != nil:
		var err error
		if body, size, err = r.stream(); err != nil {
			return nil, err
		}
	case r.body != nil:
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, errors.New("the request could not be made") // err repeats the URL
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if body != nil {
		req.ContentLength = size
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set(api.HeaderIdempotencyKey, key)
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Expose())
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return nil, fault.Wrap(fault.Unavailable, err, "the server could not be reached or did not answer")
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, problem(resp)
}

// statusCodes gives codes to answers that are not problems: a proxy's, mostly.
var statusCodes = map[int]fault.Code{
	http.StatusUnauthorized: fault.Unauthenticated, http.StatusForbidden: fault.Denied, http.StatusNotFound: fault.NotFound,
	http.StatusRequestEntityTooLarge: fault.TooLarge, http.StatusTooManyRequests: fault.Limited,
	http.StatusBadGateway: fault.Unavailable, http.StatusServiceUnavailable: fault.Unavailable,
	http.StatusGatewayTimeout: fault.Unavailable,
}

// maxProblem bounds a problem, in bytes.
const maxProblem = 1 << 20

// problem rebuilds the failure that an error answer tells of, and ends the answer.
func problem(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }() // it was only read
	e := &fault.Error{RetryAfter: retryAfter(resp.Header)}
	id := resp.Header.Get(api.HeaderRequestID)
	var p api.Problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	isProblem := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json")
	if err == nil && isProblem && json.Unmarshal(b, &p) == nil && p.Code != "" {
		e.Code, e.Detail, e.Fields = p.Code, p.Detail, p.Errors
		return fmt.Errorf("request %s: %w", id, e)
	}
	e.Code = fault.Internal
	if code, ok := statusCodes[resp.StatusCode]; ok {
		e.Code = code
	}
	e.Detail = fmt.Sprintf("status %d and no problem", resp.StatusCode)
	return e
}
