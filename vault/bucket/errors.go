package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Failures that callers tell apart.
var (
	// ErrNotFound: there is no such object, version or upload.
	ErrNotFound = errors.New("not found in the bucket")
	// ErrExists: there is an object already, and it was to be a new one, or to follow on another.
	ErrExists = errors.New("there is such an object already")
	// ErrLocked: the version is kept by object lock, and cannot be removed yet.
	ErrLocked = errors.New("kept by object lock")
	// ErrDenied: the credentials are not good, or not for this.
	ErrDenied = errors.New("denied: see that the access key is good for this bucket and has the permissions of docs/storage.md")
	// ErrNoSpace: the server has no room, or the account's quota is spent.
	ErrNoSpace = errors.New("the server has no room left")
	// ErrUnavailable: the server cannot be reached, or not now. What was asked may or may not have happened.
	ErrUnavailable = errors.New("the storage cannot be reached, or not now")

	// ErrTooLong: an object is longer than its reader expects.
	ErrTooLong = errors.New("the object is longer than it should be")

	errUnsupported = errors.New("the server does not know this request")
)

// classify gives a failure of the client its kind.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrTooLong) {
		return err
	}
	r, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok { // the network, or a deadline of ours
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	kind := kindOf(r)
	if kind == nil {
		return fmt.Errorf("%s: %w", r.Code, err)
	}
	return fmt.Errorf("%w: %s: %w", kind, r.Code, err)
}

func kindOf(r minio.ErrorResponse) error {
	switch r.Code {
	case minio.AccessDenied, "InvalidRequest", "ObjectLocked": // the codes are those of other refusals, too
		if says := strings.ToLower(r.Message); strings.Contains(says, "object lock") || strings.Contains(says, "worm protected") {
			return ErrLocked
		}
	case minio.NoSuchKey, minio.NoSuchUpload, minio.NoSuchVersion, "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration":
		return ErrNotFound
	case minio.NoSuchBucket:
		return errNoBucket
	case minio.PreconditionFailed, "ConditionalRequestConflict":
		return ErrExists
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "XMinioAdminBucketQuotaExceeded":
		return ErrNoSpace
	case minio.AuthorizationHeaderMalformed, minio.InvalidRegion, "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return errRegion
	case minio.RequestTimeTooSkewed:
		return errClock
	case "XAdminUserNotFound": // versitygw has it for an access key that it does not know, with 404
		return ErrDenied
	case minio.NotImplemented, minio.APINotSupported, minio.MethodNotAllowed:
		return errUnsupported
	case minio.UnexpectedEOF, minio.IncompleteBody:
		return ErrUnavailable
	}
	switch {
	case r.StatusCode == http.StatusInsufficientStorage:
		return ErrNoSpace
	case r.StatusCode == http.StatusForbidden, r.StatusCode == http.StatusUnauthorized:
		return ErrDenied
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusRequestTimeout, r.StatusCode >= 500, r.StatusCode == 0:
		return ErrUnavailable
	}
	return nil
}

// What no repetition mends, said so that the operator knows what to change.
var (
	errNoBucket = errors.New("there is no such bucket: make it first, closed to the public; Sandyq makes none")
	errRegion   = errors.New("the bucket is in another region than the configuration says")
	errClock    = errors.New("this machine's clock is not the server's")
)

// ended is the context's own end, which is told as it is.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
