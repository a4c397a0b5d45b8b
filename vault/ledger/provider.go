package ledger

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
)

// SignedBy returns the options with the signing keys of a provider: lines are signed with the version that is the newest now,
// also after a rotation, and may be signed with any.
func (o Options) SignedBy(ctx context.Context, keys kms.Signer) (Options, error) {
	versions, err := keys.PublicKeys(ctx)
	if err != nil {
		return Options{}, fmt.Errorf("ledger: the keys that sign it: %w", err)
	}
	newest := len(versions)
	o.Signer = providerSigner{keys, newest, checkpoint.Key{Name: "ledger/" + o.Tenant, Public: versions[newest-1]}}
	o.Keys = keys.PublicKeys
	return o, nil
}

// providerSigner signs with one version of a provider's key.
type providerSigner struct {
	keys    kms.Signer
	version int
	key     checkpoint.Key
}

// Key implements [checkpoint.Signer].
func (s providerSigner) Key() checkpoint.Key { return s.key }

// Sign implements [checkpoint.Signer].
func (s providerSigner) Sign(ctx context.Context, msg []byte) ([]byte, error) {
	return s.keys.SignAs(ctx, s.version, msg)
}
