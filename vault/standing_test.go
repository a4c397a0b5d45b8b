package vault_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// TestStandingOf: a look tells every standing and changes neither side.
func TestStandingOf(t *testing.T) {
	home := t.TempDir()
	first, clone := ownStore(t, filepath.Join(home, "store")), ownStore(t, filepath.Join(home, "clone"))
	keys, others := ownKeys(t, filepath.Join(home, "keys")), ownKeys(t, filepath.Join(home, "others"))
	serve := func(s store.Store) {
		vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Store, o.Place, o.Keys = s, "here", keys })).Stop()
	}
	want := func(why string, s store.Store, tenant, place string, k kms.Provider, standing vault.Standing, failure error) {
		t.Helper()
		rows, generation := allRows(t, s), must[kms.Generation](t)(k.Generation(ctx))
		got, err := vault.StandingOf(ctx, tenant, s, place, k)
		if got != standing || !errors.Is(err, failure) {
			t.Errorf("%s: got %s, %v", why, got, err)
		}
		if !slices.Equal(rows, allRows(t, s)) {
			t.Errorf("%s: the store was changed", why)
		}
		if must[kms.Generation](t)(k.Generation(ctx)) != generation {
			t.Errorf("%s: the keys were changed", why)
		}
	}
	want("new", first, "test", "here", keys, vault.StandingLive, nil)
	serve(first)
	want("set up", first, "test", "here", keys, vault.StandingLive, nil)
	want("elsewhere", first, "test", "there", keys, vault.StandingCopy, nil)
	want("other keys", first, "test", "here", others, vault.StandingUnknown, kms.ErrClaim)
	want("a new store beside keys in use", clone, "test", "here", keys, vault.StandingUnknown, vault.ErrForeignKeys)

	rows := allRows(t, first)
	err := clone.Update(ctx, func(w store.Writer) (err error) {
		for _, p := range rows {
			err = errors.Join(err, w.Set([]byte(p.key), []byte(p.value)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want("a cloned disk", clone, "test", "here", keys, vault.StandingLive, nil)
	want("a disk that was cloned", first, "test", "here", keys, vault.StandingLive, nil)
	serve(clone)
	want("a clone that was served", clone, "test", "here", keys, vault.StandingLive, nil)
	want("the store it was cloned from", first, "test", "here", keys, vault.StandingSuperseded, nil)
}

// TestStandingOfKeysAway: a copy is known without the keys, and nothing else is.
func TestStandingOfKeysAway(t *testing.T) {
	v := vaulttest.New(t, vaulttest.With(func(o *vault.Options) { o.Place = "here" }))
	if err := v.Keys.Close(); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]vault.Standing{"here": vault.StandingUnknown, "there": vault.StandingCopy} {
		if got, err := vault.StandingOf(ctx, "test", v.Store, place, v.Keys); got != want || !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("%s: %s, %v", place, got, err)
		}
	}
}

func ownStore(t *testing.T, dir string) *badgerdb.Store {
	t.Helper()
	s := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: dir}))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ownKeys(t *testing.T, dir string) kms.Provider {
	t.Helper()
	keys := must[kms.Provider](t)(vaulttest.Keyring(dir))
	t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	return keys
}

type storedRow struct{ key, value string }

// allRows is all that a store holds.
func allRows(t *testing.T, s store.Store) (all []storedRow) {
	t.Helper()
	err := s.View(ctx, func(r store.Reader) error {
		pairs, err := r.Scan(nil, nil, 1000)
		for _, p := range pairs {
			all = append(all, storedRow{string(p.Key), string(p.Value)})
		}
		return err
	})
	if err != nil || len(all) == 1000 {
		t.Fatalf("%d rows: %v", len(all), err)
	}
	return all
}

// TestPromotedWhileTheKeysGoOn: a promotion before whose last step the keys go on, because an earlier try of it comes through late or
// another store is promoted, fails, says that it may be asked again, and then succeeds.
func TestPromotedWhileTheKeysGoOn(t *testing.T) {
	home := t.TempDir()
	keys := ownKeys(t, filepath.Join(home, "keys"))
	late := &meanwhile{Provider: keys, tells: func() {
		now := must[kms.Generation](t)(keys.Generation(ctx))
		if err := keys.Advance(ctx, now, kms.Generation{Number: now.Number + 1, Instance: kms.NewID()}); err != nil {
			t.Fatal(err)
		}
	}}
	disk := ownStore(t, filepath.Join(home, "store"))
	at := func(place string, k kms.Provider) *vaulttest.Vault {
		return vaulttest.At(t, home, vaulttest.With(func(o *vault.Options) { o.Store, o.Place, o.Keys = disk, place, k }))
	}
	at("here", keys).Stop()
	v := at("there", late)
	wantCode(t, v.Promote(ctx), fault.Unavailable)
	if err := v.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is live", func() bool { return len(v.Ready(ctx).Degraded) == 0 })
	register(t, v, app(v), aigul())
}
