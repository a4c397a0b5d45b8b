package vault

import (
	"context"
	"crypto/ed25519"

	"github.com/sandyq/sandyq/vault/audit/translog"
	"github.com/sandyq/sandyq/vault/store"
)

// FormerSigners are the public keys of a tenant's log that are not with its key provider any more, among others: lines of the erasure ledger
// that were written before a move of keys are signed by them. The store vouches for them. Who can write there can have anybody erased
// without a line of the ledger, so nothing is gained by it; that a line is missing or changed shows by the marks, as ever.
func FormerSigners(ctx context.Context, s store.Store, tenant string) ([]ed25519.PublicKey, error) {
	return translog.FormerKeys(ctx, s, layout{tenant}.key(kindLog))
}
