package bucket

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	tries     = 3
	firstWait = 100 * time.Millisecond // doubled after each try; the half of it is random
	perMiB    = time.Second            // more for a request that carries one
)

// do makes a request that carries n bytes, again when the server could not be reached and a repetition does no harm.
func (b *Bucket) do(ctx context.Context, n int64, f func(context.Context) error) error {
	limit := b.timeout + time.Duration(n)*perMiB/(1<<20)
	within, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	for try := 1; ; try++ {
		err := once(within, limit, f)
		if ended := ended(ctx); err != nil && ended != nil {
			return ended
		}
		if !errors.Is(err, ErrUnavailable) || try == tries || !pause(within, try) {
			return err
		}
	}
}

// doOnce makes a request that is never repeated.
func (b *Bucket) doOnce(ctx context.Context, n int64, f func(context.Context) error) error {
	err := once(ctx, b.timeout+time.Duration(n)*perMiB/(1<<20), f)
	if ended := ended(ctx); err != nil && ended != nil {
		return ended
	}
	return err
}

func once(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return classify(f(ctx))
}

// pause waits after a try that failed, and reports whether there is time for another.
func pause(ctx context.Context, try int) bool {
	most := firstWait << (try - 1)
	timer := time.NewTimer(most/2 + rand.N(most/2)) //nolint:gosec // it spreads requests, and hides nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
