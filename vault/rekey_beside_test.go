package vault_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/move"
)

// TestABackupFromBeforeTheMoveIsNotPromoted beside the target, though it knows of no move: neither before the old keys are destroyed nor
// afterwards. Until the last step it is.
func TestABackupFromBeforeTheMoveIsNotPromoted(t *testing.T) {
	r := newRehousing(t)
	backup := func() side { return side{"elsewhere", copied(t, r.from.store), r.from.keys} }
	early := backup()
	v := r.serve(early)
	if err := v.Promote(ctx); err != nil {
		t.Fatalf("before the move: %v", err)
	}
	v.Stop()
	r.from = early
	early = side{"yonder", copied(t, r.from.store), r.from.keys}
	refused := func(when string) {
		t.Helper()
		was := must[kms.Generation](t)(r.from.keys.Generation(ctx))
		v := r.serve(early)
		defer v.Stop()
		if err := v.Promote(ctx); err == nil {
			t.Errorf("%s: it was promoted", when)
		}
		if now := must[kms.Generation](t)(r.from.keys.Generation(ctx)); now != was {
			t.Errorf("%s: the old keys went from %v to %v", when, was, now)
		}
	}
	m := r.moved()
	refused("while the old keys are there")
	r.live(r.to)
	if err := m.Retire(ctx); err != nil {
		t.Fatal(err)
	}
	refused("when they are destroyed")
	r.live(r.to)
}

// supplanting is a provider that is asked for keys by a process which is killed then. The answer comes late, and as the provider had looked whether there are such
// keys before another process made them, its own take their place.
type supplanting struct {
	kms.Provider
	asked []kms.ID
}

func (c *supplanting) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	if c.asked != nil {
		return c.Provider.Create(ctx, ids...)
	}
	c.asked = ids
	return nil, kms.ErrUnavailable
}

func (c *supplanting) comes() error {
	sentinel, err := c.Sentinel(ctx)
	if err != nil {
		return err
	}
	current, err := c.Generation(ctx)
	if err != nil {
		return err
	}
	if err := c.Destroy(ctx, kms.Claim{Sentinel: sentinel, Generation: current}, c.asked...); err != nil {
		return err
	}
	_, err = c.Provider.Create(ctx, c.asked...)
	return err
}

// TestNothingIsDestroyedWhileKeysMayComeLate: neither when another process asked for them nor when this one did, and was not answered.
func TestNothingIsDestroyedWhileKeysMayComeLate(t *testing.T) {
	original := newRehousing(t)
	for _, killed := range []bool{true, false} {
		r := original.copied(&hazards{})
		late := &supplanting{Provider: r.to.keys.Provider}
		r.to.keys.Provider = late
		began := time.Now()
		m := r.move()
		rows := must[*move.Rows](t)(r.prepare(m))
		if _, err := rows.Copy(ctx); !errors.Is(err, kms.ErrUnavailable) {
			t.Fatal(err)
		}
		if killed {
			m = r.move()
			rows = must[*move.Rows](t)(r.prepare(m))
		}
		if _, err := rows.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.end(m, rows); err != nil {
			t.Fatal(err)
		}
		m.Settle = time.Since(began) + 500*time.Millisecond
		if wait := must[time.Duration](t)(m.Settles(ctx)); wait <= 0 {
			t.Errorf("killed, %v: it does not wait", killed)
		}
		came := make(chan error)
		go func() {
			time.Sleep(20 * time.Millisecond)
			came <- late.comes()
		}()
		if err := m.Retire(ctx); !errors.Is(err, vault.ErrMissingKeys) {
			t.Errorf("killed, %v: %v", killed, err)
		}
		if err := <-came; err != nil {
			t.Fatal(err)
		}
		if opens(t, r.from) == 0 {
			t.Errorf("killed, %v: no old key is left", killed)
		}
	}
}

// TestRetireWaitsForNothingElse: when all keys were answered for, or the provider is one where nothing outlives who asked.
func TestRetireWaitsForNothingElse(t *testing.T) {
	original := newRehousing(t)
	for _, prompt := range []bool{false, true} {
		r := original.copied(&hazards{})
		m := r.move()
		if prompt {
			if _, err := r.begin(r.move()); err != nil { // and cut off
				t.Fatal(err)
			}
			m.New = ownKeys(t, filepath.Join(r.home, "new"))
		}
		m.Settle = time.Hour
		if err := r.carry(m); err != nil {
			t.Fatal(err)
		}
		if wait := must[time.Duration](t)(m.Settles(ctx)); wait != 0 {
			t.Errorf("prompt, %v: it waits for %v", prompt, wait)
		}
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		if err := m.Retire(bounded); err != nil {
			t.Errorf("prompt, %v: %v", prompt, err)
		}
		cancel()
		if n := opens(t, r.from); n != 0 {
			t.Errorf("prompt, %v: %d old keys open", prompt, n)
		}
	}
}
