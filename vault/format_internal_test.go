package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

// bareNode makes nodes on a store that know a form: as much of a vault as takes part in a fleet.
func bareNode(t *testing.T, shared store.Store, now clock.Clock, term time.Duration) func(latest uint32) *Service {
	t.Helper()
	dir := t.TempDir()
	if err := local.NewKeyFile(dir + "/key"); err != nil {
		t.Fatal(err)
	}
	provider, err := local.Create(dir+"/keyring", local.KeyFile(dir+"/key"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	keys, err := keyring.New(keyring.Options{
		KMS: provider, MAC: provider, Pool: &poolRows{}, Claim: func() (kms.Claim, bool) { return kms.Claim{}, false }, Now: clock.System,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	return func(latest uint32) *Service {
		s := &Service{
			Options: Options{Tenant: "test", Store: shared, Clock: now, Nodes: &Nodes{Term: term}, Observer: nobody{}, Log: slog.New(slog.DiscardHandler)},
			rows:    layout{"test"}, latest: latest, kick: make(chan struct{}, 1), keyring: keys,
		}
		s.streams.init()
		s.uploads.init()
		s.index.init(s)
		s.fleet.init(s)
		return s
	}
}

// A store is taken on to the next form when the last node that does not know it has been gone for a while, in which it may come back; and
// whoever does not know it then neither opens the store nor comes back to it.
func TestTheStoreIsTakenOnWhenEveryNodeCan(t *testing.T) {
	ctx := context.Background()
	shared := memory.New()
	now := time.Now()
	const term = time.Hour
	node := bareNode(t, shared, func() time.Time { return now }, term)
	form := func() (form uint32) {
		t.Helper()
		err := shared.View(ctx, func(r store.Reader) error {
			rows, err := r.Get(layout{"test"}.meta(metaFormat))
			if err == nil {
				form, err = formatOf(rows[0])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return form
	}
	old, next := node(1), node(2)
	for _, s := range []*Service{old, next} {
		if err := s.fleet.beat(ctx, &survey{}); err != nil {
			t.Fatal(err)
		}
	}
	raise := func(want uint32, when string) {
		t.Helper()
		if err := next.raise(ctx); err != nil || form() != want {
			t.Fatalf("form %d %s: %v", form(), when, err)
		}
	}
	raise(1, "beside a node that knows 1")
	now = now.Add(2 * formTerms * term)
	raise(1, "beside a node that knows 1, after long")
	for range 2 {
		if err := old.fleet.leave(ctx); err != nil {
			t.Fatal(err)
		}
		raise(1, "where all know 2 since now")
		now = now.Add(formTerms*term - 1)
		raise(1, "where all know 2 since a while")
		if err := old.fleet.beat(ctx, &survey{}); err != nil {
			t.Fatalf("a node that knows the form did not come back: %v", err)
		}
		now = now.Add(1)
		raise(1, "where it came back")
	}
	if err := old.fleet.leave(ctx); err != nil {
		t.Fatal(err)
	}
	raise(1, "where it has gone again")
	next.fleet.fence.Add(2) // another led meanwhile, beside whom an old node may have been
	now = now.Add(formTerms * term)
	raise(1, "which was not looked at all the while")
	now = now.Add(formTerms * term)
	raise(2, "where all have known 2 for long enough")
	if err := old.fleet.beat(ctx, &survey{}); !errors.Is(err, errNewer) {
		t.Errorf("a node that does not know the form came back: %v", err)
	}
	if err := shared.View(ctx, node(1).atForm); !errors.Is(err, errNewer) {
		t.Errorf("a version that does not know the form opens the store: %v", err)
	}
	if err := next.Store.Update(ctx, func(w store.Writer) error {
		return w.Set(next.rows.meta(metaFormat), binary.BigEndian.AppendUint32(nil, 7)[1:])
	}); err != nil {
		t.Fatal(err)
	}
	if err := shared.View(ctx, next.atForm); err == nil || errors.Is(err, errNewer) {
		t.Errorf("a damaged row: %v", err)
	}
}
