package keyring

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
)

func TestAProviderThatBreaksItsContractIsNotBelieved(t *testing.T) {
	for name, mangle := range map[string]func([]kms.Key) []kms.Key{
		"another id":  func(k []kms.Key) []kms.Key { k[0].ID = kms.NewID(); return k },
		"short key":   func(k []kms.Key) []kms.Key { k[0].Secret = secret.New([]byte("short")); return k },
		"no keys":     func([]kms.Key) []kms.Key { return nil },
		"a key extra": func(k []kms.Key) []kms.Key { return append(k, k[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, b *rig) {
				b.provider.mangle = mangle
				want(t, b.use(b.provider.add(1)[0]), kms.ErrCorrupt, "Open")
				_, err := b.Fresh(t.Context(), 1)
				want(t, err, kms.ErrCorrupt, "Fresh")
				if n := b.arena.used; n != 0 {
					t.Errorf("%d keys were taken over", n)
				}
			})
		})
	}
	t.Run("no fresh key", func(t *testing.T) {
		inBubble(t, Options{}, func(t *testing.T, b *rig) {
			b.provider.mangle = func(k []kms.Key) []kms.Key { k[0].Secret = secret.Bytes{}; return k }
			_, err := b.Fresh(t.Context(), 1)
			want(t, err, kms.ErrCorrupt, "Fresh")
		})
	})
}

func TestWhileTheProviderIsAway(t *testing.T) {
	inBubble(t, Options{PoolSize: 8, Timeout: 2 * time.Second}, func(t *testing.T, b *rig) {
		defer b.run(t)()
		synctest.Wait()
		ids := b.provider.add(2)
		want(t, b.use(ids[0]), nil, "Open")
		b.provider.set(func() { b.provider.down = true })

		want(t, b.use(ids[0]), nil, "Open of a leased key")
		want(t, b.use(ids[1]), kms.ErrUnavailable, "Open of a cold key")
		fresh, err := b.Fresh(t.Context(), 8)
		want(t, err, nil, "Fresh from the pool")
		for _, o := range fresh {
			want(t, b.rows.consume(t.Context(), o.ID(0)), nil, "consume")
			b.Keep(o, b.Permit())
			o.Close()
		}
		_, err = b.Fresh(t.Context(), 1)
		want(t, err, kms.ErrUnavailable, "Fresh with the pool empty")

		created := b.provider.called(OpCreate)
		time.Sleep(time.Minute)
		if n := b.provider.called(OpCreate) - created; n > 12 {
			t.Errorf("%d attempts to make keys in a minute of outage, want them further and further apart", n)
		}
		if n := b.rows.count(); n > 30 {
			t.Errorf("the outage left %d rows", n)
		}
		b.provider.set(func() { b.provider.down = false })
		time.Sleep(2*lastPause + 2*b.pool.settle)
		if s := b.Stats(); s.Ready != 8 || s.Doomed != 0 {
			t.Errorf("after the outage %d are ready and %d doomed, want 8 and none", s.Ready, s.Doomed)
		}
		if n := b.rows.count(); n != 8 {
			t.Errorf("%d rows are left of the outage beside the pool's 8", n-8)
		}
	})
}

func TestAProviderThatHangsIsAwayInTime(t *testing.T) {
	inBubble(t, Options{Timeout: 2 * time.Second}, func(t *testing.T, b *rig) {
		ids := b.provider.add(2)
		want(t, b.use(ids[0]), nil, "Open")
		hold := make(chan struct{})
		defer close(hold)
		b.provider.set(func() { b.provider.hold = hold })
		o, err := b.Open(t.Context(), b.Permit(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		_, err = o.Key(0)
		_, err2 := o.Key(1)
		want(t, err, nil, "Key of a leased key beside a cold one")
		want(t, err2, kms.ErrUnavailable, "Key of the cold one")
		for range 3 * callsOut {
			for name, call := range map[string]func() error{
				"Open": func() error {
					o, err := b.Open(t.Context(), b.Permit(), b.provider.add(2)...)
					if err == nil {
						defer o.Close()
						err = o.Err()
					}
					return err
				},
				"MAC":   func() error { _, err := b.MAC(t.Context(), []byte("x")); return err },
				"Fresh": func() error { _, err := b.Fresh(t.Context(), 3); return err },
			} {
				began := bubbleTime()
				want(t, call(), kms.ErrUnavailable, name)
				if took := bubbleTime().Sub(began); took > 2*time.Second {
					t.Errorf("%s took %v to fail, want 2 s", name, took)
				}
			}
		}
	})
}
