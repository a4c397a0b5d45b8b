package metrics

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sandyq/sandyq/crypto/kms"
)

func (r *Registry) registerKeys() {
	r.keyCallSeconds = prometheus.NewHistogramVec(
		histogram("keys_call_seconds", "Time of calls to the key provider, failed ones included, by operation.", latencies), []string{"operation"})
	r.keyErrors = prometheus.NewCounterVec(
		counter("keys_errors_total", "Calls to the key provider that failed, by operation and cause."), []string{"operation", "cause"})
	r.prometheus.MustRegister(r.keyCallSeconds, r.keyErrors)
}

// causes are the ways a provider fails, as labels.
var causes = []struct {
	err  error
	name string
}{
	{context.Canceled, "canceled"}, // first: a caller who gave up is wrapped as unavailable
	{kms.ErrUnavailable, "unavailable"},
	{kms.ErrClaim, "claim"},
	{kms.ErrCorrupt, "corrupt"},
	{kms.ErrWithheld, "withheld"},
	{kms.ErrExists, "exists"},
	{kms.ErrVersion, "version"},
}

func cause(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "other"
}

// Keys counts the calls to p. now times them; its readings should be monotonic.
func (r *Registry) Keys(p kms.Provider, now func() time.Time) kms.Provider {
	return &countedKeys{p, r, now}
}

// countedKeys is a provider whose calls are counted.
type countedKeys struct {
	provider kms.Provider
	registry *Registry
	now      func() time.Time
}

// called counts one call that began at begun.
func (c *countedKeys) called(operation string, begun time.Time, err error) {
	c.registry.keyCallSeconds.WithLabelValues(operation).Observe(c.now().Sub(begun).Seconds())
	if err != nil {
		c.registry.keyErrors.WithLabelValues(operation, cause(err)).Inc()
	}
}

// Create implements kms.KMS.
func (c *countedKeys) Create(ctx context.Context, ids ...kms.ID) (keys []kms.Key, err error) {
	defer func(begun time.Time) { c.called("create", begun, err) }(c.now())
	return c.provider.Create(ctx, ids...)
}

// Open implements kms.KMS.
func (c *countedKeys) Open(ctx context.Context, ids ...kms.ID) (keys []kms.Key, err error) {
	defer func(begun time.Time) { c.called("open", begun, err) }(c.now())
	return c.provider.Open(ctx, ids...)
}

// Destroy implements kms.KMS.
func (c *countedKeys) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) (err error) {
	defer func(begun time.Time) { c.called("destroy", begun, err) }(c.now())
	return c.provider.Destroy(ctx, claim, ids...)
}

// MAC implements kms.MACer.
func (c *countedKeys) MAC(ctx context.Context, inputs ...[]byte) (macs [][]byte, err error) {
	defer func(begun time.Time) { c.called("mac", begun, err) }(c.now())
	return c.provider.MAC(ctx, inputs...)
}

// Sentinel implements kms.Anchor.
func (c *countedKeys) Sentinel(ctx context.Context) (s kms.Sentinel, err error) {
	defer func(begun time.Time) { c.called("sentinel", begun, err) }(c.now())
	return c.provider.Sentinel(ctx)
}

// Generation implements kms.Anchor.
func (c *countedKeys) Generation(ctx context.Context) (g kms.Generation, err error) {
	defer func(begun time.Time) { c.called("generation", begun, err) }(c.now())
	return c.provider.Generation(ctx)
}

// Advance implements kms.Anchor.
func (c *countedKeys) Advance(ctx context.Context, from, next kms.Generation) (err error) {
	defer func(begun time.Time) { c.called("advance", begun, err) }(c.now())
	return c.provider.Advance(ctx, from, next)
}

// Mark implements kms.Anchor.
func (c *countedKeys) Mark(ctx context.Context) (m kms.Mark, err error) {
	defer func(begun time.Time) { c.called("mark", begun, err) }(c.now())
	return c.provider.Mark(ctx)
}

// SetMark implements kms.Anchor.
func (c *countedKeys) SetMark(ctx context.Context, from, next kms.Mark) (err error) {
	defer func(begun time.Time) { c.called("set_mark", begun, err) }(c.now())
	return c.provider.SetMark(ctx, from, next)
}

// PublicKeys implements kms.Signer.
func (c *countedKeys) PublicKeys(ctx context.Context) (public []ed25519.PublicKey, err error) {
	defer func(begun time.Time) { c.called("public_keys", begun, err) }(c.now())
	return c.provider.PublicKeys(ctx)
}

// SignAs implements kms.Signer.
func (c *countedKeys) SignAs(ctx context.Context, version int, message []byte) (signature []byte, err error) {
	defer func(begun time.Time) { c.called("sign", begun, err) }(c.now())
	return c.provider.SignAs(ctx, version, message)
}

// RotateSigning implements kms.Signer.
func (c *countedKeys) RotateSigning(ctx context.Context) (version int, err error) {
	defer func(begun time.Time) { c.called("rotate_signing", begun, err) }(c.now())
	return c.provider.RotateSigning(ctx)
}

// Close implements kms.Provider.
func (c *countedKeys) Close() error { return c.provider.Close() }
