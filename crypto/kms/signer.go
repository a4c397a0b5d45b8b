package kms

import (
	"context"
	"crypto/ed25519"
)

// Signer signs with the Ed25519 keys (RFC 8032, the pure scheme) of the tenant's transparency log. They have versions 1, 2,
// and so on; none ever leaves the provider, and none is destroyed: what an old version signed is verified for as long as
// the log is kept.
type Signer interface {
	// PublicKeys returns the public key of every version, in order: index 0 is version 1, and the last is the newest. There
	// is at least one. [ErrCorrupt] when a version between the first and the last is gone.
	PublicKeys(ctx context.Context) ([]ed25519.PublicKey, error)

	// SignAs signs message, which is of some KiB at most, with a version of the key. Every version can sign, also one
	// that was superseded. The signature is [ed25519.SignatureSize] bytes. [ErrVersion] when there is no such version.
	SignAs(ctx context.Context, version int, message []byte) ([]byte, error)

	// RotateSigning adds a version and returns its number. It is durable before it returns. After an error one may have
	// been added, which PublicKeys shows; racing calls add one each.
	RotateSigning(ctx context.Context) (version int, err error)
}
