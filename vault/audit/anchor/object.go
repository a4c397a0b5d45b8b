package anchor

import (
	"context"
	"errors"
	"fmt"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/bucket"
)

// Object is the anchor of one tenant in a bucket, for all nodes of a vault. It is safe for concurrent use.
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

// Take implements Place.
func (o *Object) Take(ctx context.Context, note []byte) error { return take(ctx, o, note) }

// Keep implements translog.Anchor.
func (o *Object) Keep(ctx context.Context, was, note []byte) (kept bool, err error) {
	if kept, err = o.bucket.Swap(ctx, o.key, was, note); err != nil {
		return false, fmt.Errorf("anchor: %w", err)
	}
	return kept, nil
}
