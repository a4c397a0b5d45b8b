package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/memory"
)

// A store is taken on to the next form when the last node that does not know it has gone, and whoever does not know it neither
// opens the store nor comes back to it.
func TestTheStoreIsTakenOnWhenEveryNodeCan(t *testing.T) {
	ctx := context.Background()
	shared := memory.New()
	dir := t.TempDir()
	if err := local.NewKeyFile(dir + "/key"); err != nil {
		t.Fatal(err)
	}
	provider, err := local.Create(dir+"/keyring", local.KeyFile(dir+"/key"))
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	keys, err := keyring.New(keyring.Options{
		KMS: provider, MAC: provider, Pool: &poolRows{}, Claim: func() (kms.Claim, bool) { return kms.Claim{}, false }, Now: clock.System,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	node := func(latest uint32) *Service {
		s := &Service{Options: Options{Tenant: "test", Store: shared, Clock: clock.System, Nodes: &Nodes{Term: time.Hour}, Observer: nobody{}}, rows: layout{"test"}, latest: latest}
		s.streams.init()
		s.uploads.init()
		s.index.init(s)
		s.kick = make(chan struct{}, 1)
		s.fleet.init(s)
		s.keyring = keys
		return s
	}
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
	if err := next.raise(ctx); err != nil || form() != 1 {
		t.Fatalf("form %d beside a node that knows 1: %v", form(), err)
	}
	if err := old.fleet.leave(ctx); err != nil {
		t.Fatal(err)
	}
	if err := next.raise(ctx); err != nil || form() != 2 {
		t.Fatalf("form %d where all know 2: %v", form(), err)
	}
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
