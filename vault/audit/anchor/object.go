package anchor

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/bucket"
)

// Object is the anchor of one tenant in a bucket, for all nodes of a vault. It is safe for concurrent use; of two that keep at once
// either is kept.
type Object struct {
	bucket *bucket.Bucket
	key    string
}

// InBucket is the anchor of a tenant in a bucket.
func InBucket(b *bucket.Bucket, tenant string) *Object { return &Object{b, tenant + suffix} }

// Last implements translog.Anchor.
func (o *Object) Last(ctx context.Context) ([]byte, error) {
	note, err := o.bucket.Get(ctx, o.key, "", checkpoint.MaxNote)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("anchor: %w", err)
	}
	return note, nil
}

// Keep implements translog.Anchor.
func (o *Object) Keep(ctx context.Context, note []byte) error {
	if err := o.bucket.Replace(ctx, o.key, note); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	return nil
}
