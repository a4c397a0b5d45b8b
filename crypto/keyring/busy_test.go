package keyring

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sandyq/sandyq/crypto/kms"
)

// TestTooMuchWaits fills the queue for a provider that does not answer. What comes then is refused at once, as a whole, and
// has left nothing behind: when the provider answers, those who waited are served, and so is who comes back.
func TestTooMuchWaits(t *testing.T) {
	inBubble(t, Options{CacheSize: -1}, func(t *testing.T, b *rig) {
		open := func(ids ...kms.ID) error {
			opened, err := b.Open(t.Context(), b.Permit(), ids...)
			if err != nil {
				return err
			}
			defer opened.Close()
			return opened.Err()
		}
		hold := make(chan struct{})
		b.provider.set(func() { b.provider.hold = hold })
		some := b.provider.add(8)
		var callers sync.WaitGroup
		for range callsOut { // each of these is a call of its own
			id := b.provider.add(1)[0]
			callers.Go(func() { want(t, open(id), nil, "Open") })
			synctest.Wait()
		}
		for range waiting {
			ids := b.provider.add(openBatch)
			callers.Go(func() { want(t, open(ids...), nil, "Open") })
		}
		synctest.Wait()
		began := b.Keyring.now()
		want(t, open(some...), ErrBusy, "Open beyond what may wait")
		want(t, open(some[0]), kms.ErrUnavailable, "Open of one beyond what may wait")
		if took := b.Keyring.now().Sub(began); took != 0 {
			t.Errorf("the refusal took %v", took)
		}
		close(hold)
		callers.Wait()
		for _, id := range some {
			if n := b.provider.reads(id); n != 0 {
				t.Errorf("a key that was refused was read %d times", n)
			}
		}
		want(t, open(some...), nil, "Open once there is room")
	})
}
