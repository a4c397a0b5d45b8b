package webhook

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What Verify finds wrong.
var (
	ErrForged = errors.New("webhook: not signed with this secret")
	ErrStale  = errors.New("webhook: signed at another time")
)

// Verify checks an event as its receiver got it: body is the bytes that came in, before any decoding. The error is
// ErrForged when a header is missing or malformed or the signature is not of this secret, which is compared in constant
// time; and ErrStale when it was signed more than tolerance before or after now. Five minutes are a good tolerance. While a
// secret is being replaced, verify with either. What passes may still be a repetition: remember the ids for twice the
// tolerance.
func Verify(secret []byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("webhook: a secret has at least %d bytes", MinSecret)
	}
	id, stamp, signature := one(header, HeaderID), one(header, HeaderTimestamp), one(header, HeaderSignature)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	at := time.Unix(seconds, 0)
	if err != nil || timestamp(at) != stamp || !idPattern.MatchString(id) {
		return ErrForged
	}
	if !hmac.Equal([]byte(signature), []byte(sign(secret, stamp, id, body))) {
		return ErrForged
	}
	if now.Sub(at).Abs() > tolerance {
		return ErrStale
	}
	return nil
}

// one is a header's value when it has one and no more.
func one(header http.Header, name string) string {
	if values := header.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}
