package keyring

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sandyq/sandyq/crypto/kms"
)

func TestOpenReturnsTheProvidersKeysInOrder(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(300)
		ids[7] = kms.NewID() // which the provider does not have
		ids[9] = ids[8]
		for _, from := range []string{"provider", "cache"} {
			o, err := b.Open(t.Context(), b.Permit(), ids...)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				key, err := o.Key(i)
				stored := b.provider.key(id)
				if i == 7 {
					want(t, err, ErrMissing, "Key of a missing key")
				} else if err != nil || !bytes.Equal(key.Expose(), stored[:]) || o.ID(i) != id {
					t.Fatalf("key %d from the %s is not the provider's (%v)", i, from, err)
				}
			}
			o.Close()
			o.Close()
			_, err = o.Key(0)
			want(t, err, ErrClosed, "Key after Close")
		}
		if n := b.provider.reads(ids[8]); n != 1 {
			t.Errorf("a key asked for twice in two calls was read %d times, want once", n)
		}
		for i, s := range b.provider.answers {
			if !bytes.Equal(s.Expose(), make([]byte, kms.KeySize)) {
				t.Fatalf("the provider's copy %d was not wiped", i)
			}
		}
	})
}

func TestColdOpensShareFewCalls(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(64)
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		var callers sync.WaitGroup
		for _, id := range ids {
			for range 3 {
				callers.Go(func() { want(t, b.use(id), nil, "Open") })
			}
		}
		synctest.Wait()
		close(hold)
		callers.Wait()
		if n := b.provider.called(OpOpen); n > callsOut+1 {
			t.Errorf("%d calls for 64 keys asked for at once, want at most %d", n, callsOut+1)
		}
		for _, id := range ids {
			if n := b.provider.reads(id); n != 1 {
				t.Errorf("a key that three asked for at once was read %d times", n)
			}
		}
	})
}

func TestACallerWhoLeavesDoesNotFailTheOthers(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(2)
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { // the first, whose call it is
			_, err := b.Open(ctx, b.Permit(), ids...)
			want(t, err, context.Canceled, "Open of the one who left")
		})
		synctest.Wait()
		callers.Go(func() { want(t, b.use(ids[0]), nil, "Open of the one who stayed") })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(hold)
		callers.Wait()
		want(t, b.use(ids[1]), nil, "Open later")
	})
}

func TestNobodyAsksForWhatNobodyWaitsFor(t *testing.T) {
	for op, ask := range map[Operation]func(context.Context, *rig) error{
		OpOpen: func(ctx context.Context, b *rig) error {
			_, err := b.Open(ctx, b.Permit(), b.provider.add(1)[0])
			return err
		},
		OpMAC:    func(ctx context.Context, b *rig) error { _, err := b.MAC(ctx, []byte("x")); return err },
		OpCreate: func(ctx context.Context, b *rig) error { _, err := b.Fresh(ctx, 1); return err },
	} {
		t.Run(string(op), func(t *testing.T) {
			inBubble(t, Options{PoolSize: -1}, func(t *testing.T, b *rig) {
				hold := make(chan struct{})
				b.provider.set(func() { b.provider.hold = hold })
				ctx, cancel := context.WithCancel(t.Context())
				var callers sync.WaitGroup
				for range callsOut + 3 {
					callers.Go(func() { want(t, ask(ctx, b), context.Canceled, "asking") })
					synctest.Wait()
				}
				cancel()
				callers.Wait()
				close(hold)
				synctest.Wait()
				if n := b.provider.called(op); n != callsOut {
					t.Errorf("%d calls, want only the %d that were out when the callers left", n, callsOut)
				}
			})
		})
	}
}

func TestAFlightThatEverybodyLeftStillTakesLaterCallers(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		ids := b.provider.add(callsOut + 1)
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, id := range ids {
			callers.Go(func() { _, _ = b.Open(ctx, b.Permit(), id) })
			synctest.Wait()
		}
		cancel()
		callers.Wait()
		callers.Go(func() { want(t, b.use(ids[callsOut]), nil, "Open before the flight took off") })
		synctest.Wait()
		close(hold)
		callers.Wait()
		want(t, b.use(ids[0]), nil, "Open later")
	})
}

func TestACorruptKeyFailsAlone(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, b *rig) {
		ids := b.provider.add(10)
		b.provider.corrupt[ids[3]] = true
		o, err := b.Open(t.Context(), b.Permit(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for i := range ids {
			if _, err := o.Key(i); errors.Is(err, kms.ErrCorrupt) != (i == 3) || (err == nil) != (i != 3) {
				t.Errorf("Key(%d) = %v", i, err)
			}
		}
	})
}
