package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

// The pauses between attempts when the server does not say how long: doubling from the first, half of it by chance.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second

	maxRetryAfter = 30 * time.Second // however long the server, or a proxy, says
)

type keyContext struct{}

// WithKey sets the Idempotency-Key of the call made under the context: 1 to 255 visible ASCII characters, one for each
// thing to be done once. The same key and request again within 24 hours answer what the first one did.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

func keyOf(ctx context.Context) string {
	key, _ := ctx.Value(keyContext{}).(string)
	return key
}

// repeatable reports whether the call's outcome may be another, or may be learnt, by repeating it: a part is away, or an
// earlier attempt is still in flight at the server, which says so by a conflict with a time to wait.
func repeatable(err error) bool {
	e := fault.From(err)
	return e.Code == fault.Unavailable || e.Code == fault.Conflict && e.RetryAfter > 0
}

// pause waits before the next attempt. It reports false, at once, when the context would end first.
func pause(ctx context.Context, attempt int, err error) bool {
	wait := min(firstPause<<(attempt-1), maxPause)
	wait = wait/2 + rand.N(wait/2) //nolint:gosec // jitter
	if e, ok := errors.AsType[*fault.Error](err); ok && e.RetryAfter > 0 {
		wait = min(e.RetryAfter, maxRetryAfter)
	}
	if end, ok := ctx.Deadline(); ok && clock.System().Add(wait).After(end) {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter reads the seconds of Retry-After, which the server never writes as a date.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
