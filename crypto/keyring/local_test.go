package keyring

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/kmstest"
	"github.com/sandyq/sandyq/crypto/kms/local"
)

// The life of people's keys at a real provider.
func TestAKeysLifeAtALocalProvider(t *testing.T) {
	dir := t.TempDir()
	if err := local.NewKeyFile(filepath.Join(dir, "root.key")); err != nil {
		t.Fatal(err)
	}
	provider, err := local.Create(filepath.Join(dir, "keys"), local.KeyFile(filepath.Join(dir, "root.key")))
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	claim, rows := kmstest.Claim(t, provider), newRows(1)
	k, err := New(Options{
		KMS: provider, MAC: provider, Pool: process{rows, 1}, PoolSize: 4, Settle: 20 * time.Millisecond,
		Claim: func() (kms.Claim, bool) { return claim, true }, Now: newClock(), Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { k.Run(ctx) })
	defer run.Wait()
	defer stop()

	permit := k.Permit()
	fresh, err := k.Fresh(ctx, 6)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]kms.ID, len(fresh))
	made := make([]slot, len(fresh))
	for i, o := range fresh {
		key, err := o.Key(0)
		if err != nil {
			t.Fatal(err)
		}
		ids[i], made[i] = o.ID(0), slot(key.Expose())
		if err := rows.consume(ctx, ids[i]); err != nil {
			t.Fatal(err)
		}
		k.Keep(o, permit)
		o.Close()
	}
	k.Purge(ids[:3]...) // so that half come from the provider
	o, err := k.Open(ctx, k.Permit(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ids {
		if key, err := o.Key(i); err != nil || slot(key.Expose()) != made[i] {
			t.Errorf("key %d is not the one that was made (%v)", i, err)
		}
	}
	o.Close()

	if err := k.Destroy(ctx, ids[1:]...); err != nil {
		t.Fatal(err)
	}
	o, err = k.Open(ctx, k.Permit(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for i := range ids {
		if _, err := o.Key(i); errors.Is(err, ErrMissing) != (i > 0) {
			t.Errorf("Key(%d) after all but the first were destroyed = %v", i, err)
		}
	}
	if sums, err := k.MAC(ctx, []byte("a"), []byte("b")); err != nil || len(sums) != 2 || len(sums[0]) != kms.MACSize {
		t.Errorf("MAC = %d sums, %v", len(sums), err)
	}
}
