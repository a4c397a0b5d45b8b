package hashicorp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/sandyq/sandyq/crypto/kms"
)

// What Vault answers when it is there and does not do what was asked.
var (
	errAbsent  = errors.New("no such entry")  // Vault's 404 with an empty error list: the mount is there, the entry is not
	errNoRoute = errors.New("no such mount")  // Vault's 404 with an error, or with data: not a plain absence
	errDenied  = errors.New("denied")         // 403
	errRefused = errors.New("not acceptable") // 400
)

var errClosed = fmt.Errorf("%w: the provider is closed", kms.ErrUnavailable)

// classify turns what the SDK answers into one of the above or ErrUnavailable. The SDK's error holds the server's text,
// or a proxy's, and is left behind.
func classify(err error) error {
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		if inURL, ok := errors.AsType[*url.Error](err); ok { // adds nothing but the address
			err = inURL.Err
		}
		return public(err)
	}
	status := answer.StatusCode
	switch {
	case status == http.StatusNotFound && answer.RawError:
		return fmt.Errorf("%w: the 404 is not Vault's", kms.ErrUnavailable)
	case status == http.StatusNotFound && answer.Errors != nil && len(answer.Errors) == 0:
		return errAbsent
	case status == http.StatusNotFound:
		return errNoRoute
	case status == http.StatusForbidden:
		return errDenied
	case status == http.StatusBadRequest:
		return errRefused
	}
	return statusError(status)
}

// statusError is an answer that says nothing about what was asked: sealed 503, quota 429, a standby that is behind 412
// or cannot answer 472 and 473, a proxy that dislikes the request, and anything unforeseen.
type statusError int

func (s statusError) Error() string {
	return fmt.Sprintf("%v: status %d", kms.ErrUnavailable, int(s))
}

func (s statusError) Unwrap() error { return kms.ErrUnavailable }

// turnedAway are the statuses of a request that Vault did not begin.
func turnedAway(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusPreconditionFailed
}

// Transit's words for a version below min_decryption_version or min_encryption_version, by which alone it tells that from what it
// cannot read.
var withheldWords = [][]byte{
	[]byte("version is disallowed by policy (too old)"),
	[]byte("version is too old (disallowed by policy)"),
}

// withheld reports whether a refusal is of a version that Transit is set not to serve. The body is the server's text, and left behind.
func withheld(response *api.Response) bool {
	if response == nil {
		return false
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return err == nil && slices.ContainsFunc(withheldWords, func(words []byte) bool { return bytes.Contains(b, words) })
}

// neverArrived reports that the failed request had no effect, so that even a create may be repeated.
func neverArrived(err error) bool {
	if status, ok := errors.AsType[statusError](err); ok {
		return turnedAway(int(status))
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// retryAfter is how long the server asks to be left alone; 0 when it does not say.
func retryAfter(response *api.Response) time.Duration {
	if response == nil {
		return 0
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

// public makes an error one of the package kms's, for what no caller foresees: a denial or a refusal of what is asked
// every day means that the server is not set up for us.
func public(err error) error {
	for _, known := range []error{kms.ErrExists, kms.ErrClaim, kms.ErrCorrupt, kms.ErrWithheld, kms.ErrVersion, kms.ErrUnavailable} {
		if err == nil || errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", kms.ErrUnavailable, err)
}

func ended(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return public(err)
	}
	return nil
}
