package authn

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"

	"github.com/go-json-experiment/json"
)

type certificateKey struct{}

// WithConnection returns a context in which tokens that are bound to the client certificate of this connection are accepted
// (RFC 8705, 3). A nil state, and one without a verified certificate, change nothing.
func WithConnection(ctx context.Context, state *tls.ConnectionState) context.Context {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ctx
	}
	return context.WithValue(ctx, certificateKey{}, state.PeerCertificates[0])
}

// bound refuses a token that is to be accepted only with a proof of possession (RFC 7800), unless the proof is the
// certificate of the connection.
func bound(ctx context.Context, c claims) error {
	raw, ok := c["cnf"]
	if !ok {
		return nil
	}
	var confirmation map[string]string
	if json.Unmarshal(raw, &confirmation) != nil || len(confirmation) != 1 || confirmation["x5t#S256"] == "" {
		return errToken("is bound to a proof of possession that is not supported (cnf)")
	}
	certificate, ok := ctx.Value(certificateKey{}).(*x509.Certificate)
	if !ok {
		return errToken("is bound to a certificate, and none is shown (cnf)")
	}
	sum := sha256.Sum256(certificate.Raw)
	if base64.RawURLEncoding.EncodeToString(sum[:]) != confirmation["x5t#S256"] {
		return errToken("is bound to another certificate (cnf)")
	}
	return nil
}
