package vault_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/store"
)

// claims is a store that does something, once it is armed, before the first Update that would write that a try is the latest.
type claims struct {
	store.Store
	before atomic.Pointer[func()]
}

var errClaims = errors.New("it is about to write that it is the latest")

func (c *claims) Update(ctx context.Context, f func(store.Writer) error) error {
	before := c.before.Load()
	if before == nil {
		return c.Store.Update(ctx, f)
	}
	err := c.Store.Update(ctx, func(w store.Writer) error { return f(claimSpy{w}) })
	if errors.Is(err, errClaims) {
		c.before.Store(nil)
		(*before)()
		return c.Store.Update(ctx, f)
	}
	return err
}

type claimSpy struct{ store.Writer }

func (s claimSpy) Set(key, value []byte) error {
	if kind := 1 + key[0]; key[kind] == 'y' { // kindOnce
		return errClaims
	}
	return s.Writer.Set(key, value)
}

// Nodes of which one has midnight behind it, and the other not yet or has taken its time over it, know each other's tries.
func TestTriesOverMidnightAreOfOneCall(t *testing.T) {
	spy := &claims{}
	all := nodesOf(t, 2, func(i int, o *vault.Options) {
		if i == 0 {
			spy.Store, o.Store = o.Store, spy
		}
	})
	behind, ahead := all[0], all[1]
	shop := app(behind.Vault)
	create := func(n *node, key string) string {
		t.Helper()
		return patiently(t, n.Vault, func() (*api.Subject, error) {
			return n.CreateSubject(ctx, keyed(shop, key), &api.CreateSubjectRequest{Purpose: "registration"})
		}).Subject
	}
	early := create(behind, "early")
	now := ahead.Clock.Now().UTC()
	ahead.Clock.Advance(now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Second).Sub(now))
	var answered string
	meanwhile := func() { answered = create(ahead, "in the middle") }
	spy.before.Store(&meanwhile)
	if late := create(behind, "in the middle"); answered == "" || late != answered {
		t.Errorf("in the middle of a try of yesterday one of today answered %q, and it %q", answered, late)
	}
	answered = create(ahead, "today")
	if again := create(behind, "today"); again != answered {
		t.Error("a try of today is not known to whom it is yesterday still")
	}
	if again := create(ahead, "early"); again != early {
		t.Error("a try of yesterday is not known today")
	}
}
