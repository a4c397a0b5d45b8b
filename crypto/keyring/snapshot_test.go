package keyring

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
)

// Keys wait until a snapshot contains them, and those that were lost meanwhile are given to nobody.
func TestKeysWaitForASnapshot(t *testing.T) {
	var until atomic.Pointer[time.Time]
	until.Store(&time.Time{})
	o := Options{PoolSize: 100, Snapshot: func() time.Time { return *until.Load() }}
	inBubble(t, o, func(t *testing.T, b *rig) {
		defer b.run(t)()
		wants := func(ready, waiting int) {
			t.Helper()
			time.Sleep(2 * pollEvery)
			synctest.Wait()
			if s := b.Stats(); s.Ready != ready || s.Waiting != waiting {
				t.Fatalf("%d keys ready and %d waiting, want %d and %d", s.Ready, s.Waiting, ready, waiting)
			}
		}
		taken := func() { now := bubbleTime(); until.Store(&now) }
		wants(0, 100)
		_, err := b.Fresh(t.Context(), 1)
		want(t, err, kms.ErrUnavailable, "Fresh before the first snapshot")
		taken()
		wants(100, 0)
		fresh, err := b.Fresh(t.Context(), 70)
		want(t, err, nil, "Fresh")
		for _, o := range fresh {
			want(t, b.rows.consume(t.Context(), o.ID(0)), nil, "consume")
			b.Keep(o, b.Permit())
			o.Close()
		}
		wants(30, 70)
		_, err = b.Fresh(t.Context(), 31)
		want(t, err, kms.ErrUnavailable, "Fresh of more than are in a snapshot")
		wants(30, 70)

		b.provider.set(func() { // it is restored from the snapshot
			for id := range b.provider.keys {
				if row, ok := b.rows.rows[id]; ok && row.made.After(*until.Load()) {
					delete(b.provider.keys, id)
				}
			}
		})
		taken()
		wants(30, 70) // others, made since
		taken()
		wants(100, 0)
	})
}
