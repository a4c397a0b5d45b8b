package httpapi

import (
	"net/http"
	"strings"

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// bearer returns the bearer token of RFC 6750 §2.1.
func bearer(h http.Header) (string, error) {
	values := h["Authorization"]
	if len(values) == 1 {
		scheme, token, ok := strings.Cut(values[0], " ")
		if ok && strings.EqualFold(scheme, "Bearer") && visible(token) {
			return token, nil
		}
	}
	return "", fault.New(fault.Unauthenticated, "one Authorization header with a Bearer token is required")
}

func idempotencyKey(h http.Header) (string, error) {
	values := h[api.HeaderIdempotencyKey]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1 || len(values[0]) > 255 || !visible(values[0]):
		return "", fault.Bad(api.HeaderIdempotencyKey, "one header of 1 to 255 visible ASCII characters")
	}
	return values[0], nil
}

// visible reports whether s is one or more visible ASCII characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
