package vault_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/ledger/file"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// moved is a move whose old keys are not destroyed yet.
func (r *rehousing) moved() *vault.Rekeying {
	r.t.Helper()
	m := r.move()
	if err := r.carry(m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// erases erases somebody new, to the end.
func (r *rehousing) erases(v *vaulttest.Vault) {
	r.t.Helper()
	who := register(r.t, v, r.shop, fields{"family_name": text("Оспанова")})
	e := must[*api.Erasure](r.t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
	erased(r.t, v, r.shop, e.Erasure)
}

// TestTheLastKeysAreNotDestroyed: when the new provider has lost some of its own, or has others in their place, the old ones stay.
func TestTheLastKeysAreNotDestroyed(t *testing.T) {
	original := newRehousing(t)
	for name, again := range map[string]bool{"lost": false, "made anew": true} {
		r := original.copied(&hazards{})
		m := r.moved()
		before := r.from.keys.made
		claim := kms.Claim{Sentinel: must[kms.Sentinel](t)(r.to.keys.Sentinel(ctx)), Generation: must[kms.Generation](t)(r.to.keys.Generation(ctx))}
		made := r.to.keys.made
		if err := r.to.keys.Destroy(ctx, claim, made...); err != nil {
			t.Fatal(err)
		}
		if again {
			must[[]kms.Key](t)(r.to.keys.Create(ctx, made...))
		}
		if err := m.Retire(ctx); !errors.Is(err, vault.ErrMissingKeys) {
			t.Errorf("%s: %v", name, err)
		}
		r.from.keys.made = append(before, made...)
		if opens(t, r.from) == 0 {
			t.Errorf("%s: no old key is left", name)
		}
	}
}

// tardy carries out an Advance or a Create after it was answered.
type tardy struct {
	kms.Provider
	advances, creates bool
	then              func() error
}

func (l *tardy) Advance(ctx context.Context, from, next kms.Generation) error {
	if !l.advances {
		return l.Provider.Advance(ctx, from, next)
	}
	l.advances = false
	l.then = func() error { return l.Provider.Advance(context.WithoutCancel(ctx), from, next) }
	return kms.ErrUnavailable
}

func (l *tardy) Create(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	if !l.creates {
		return l.Provider.Create(ctx, ids...)
	}
	l.creates = false
	l.then = func() error { _, err := l.Provider.Create(context.WithoutCancel(ctx), ids...); return err }
	return nil, kms.ErrUnavailable
}

// TestAStepThatComesLate, while all is copied once more, supersedes the source all the same. The move is ended then; and one that comes after
// the source went on does nothing.
func TestAStepThatComesLate(t *testing.T) {
	original := newRehousing(t)
	for _, served := range []bool{false, true} {
		r := original.copied(&hazards{})
		l := &tardy{Provider: r.from.keys.Provider, advances: true}
		r.from.keys.Provider = l
		if err := r.carry(r.move()); !errors.Is(err, kms.ErrUnavailable) {
			t.Fatal(err)
		}
		if served {
			r.live(r.from)
		}
		if _, err := r.begin(r.move()); err != nil {
			t.Fatal(err)
		}
		if err := l.then(); (err != nil) != served {
			t.Errorf("after it was served, %v: the step: %v", served, err)
		}
		if stage := must[vault.Stage](t)(r.move().Stage(ctx)); stage != vault.StageSource {
			t.Errorf("what was copied in part is %v", stage)
		}
		if err := r.move().Abandon(ctx); err != nil != !served {
			t.Errorf("after it was served, %v: given up: %v", served, err)
		}
		if served {
			r.live(r.from)
			continue
		}
		if err := r.try(); err != nil {
			t.Fatal(err)
		}
		r.live(r.to)
	}
}

// TestAbandoningByARestoredSource: of what it does not know, and wherever it lies, the new keys go.
func TestAbandoningByARestoredSource(t *testing.T) {
	for name, restored := range map[string]bool{"from before the move": true, "to another place": false} {
		r := newRehousing(t)
		before := copied(t, r.from.store)
		if restored {
			v := r.serve(r.from)
			register(t, v, r.shop, fields{"family_name": text("Оспанова")}) // whom the restored one does not know
			v.Stop()
		}
		if err := r.move().Abandon(ctx); !errors.Is(err, vault.ErrNotBegun) {
			t.Errorf("%s: nothing was begun: %v", name, err)
		}
		if _, err := r.begin(r.move()); err != nil {
			t.Fatal(err)
		}
		r.from = side{"elsewhere", copied(t, r.from.store), r.from.keys}
		if restored {
			r.from.store = before
		}
		v := r.serve(r.from)
		if err := v.Promote(ctx); err != nil {
			t.Fatal(err)
		}
		v.Stop()
		if err := r.move().Abandon(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := opens(t, r.to); n > 0 {
			t.Errorf("%s: %d new keys open", name, n)
		}
		v = r.serve(r.from)
		r.erases(v)
		v.Stop()
	}
}

// TestAbandoningWaitsForWhatIsUnderWay: a key that comes to be after the move was cut off goes with all others.
func TestAbandoningWaitsForWhatIsUnderWay(t *testing.T) {
	r := newRehousing(t)
	l := &tardy{Provider: r.to.keys.Provider, creates: true}
	r.to.keys.Provider = l
	if _, err := r.begin(r.move()); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatal(err)
	}
	m := r.move()
	m.Settle = 200 * time.Millisecond
	came := make(chan error)
	go func() {
		time.Sleep(20 * time.Millisecond)
		came <- l.then()
	}()
	if err := errors.Join(m.Abandon(ctx), <-came); err != nil {
		t.Fatal(err)
	}
	if n := opens(t, r.to); n > 0 {
		t.Errorf("%d new keys open", n)
	}
}

// TestABackupFromBeforeTheOldKeysWereDestroyed learns of that from the new provider: it gives data out, and its erasures end.
func TestABackupFromBeforeTheOldKeysWereDestroyed(t *testing.T) {
	r := newRehousing(t)
	m := r.moved()
	v := r.serve(r.to)
	r.searchable(v)
	backup := copied(t, v.Store)
	v.Stop()
	if err := m.Retire(ctx); err != nil {
		t.Fatal(err)
	}
	v = r.serve(r.to)
	r.erases(v)
	v.Stop()
	restored := side{"restored", backup, r.to.keys}
	v = r.serve(restored)
	if err := v.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restored vault reads", func() bool {
		_, err := v.Subject(ctx, r.shop, r.own.person.Subject)
		return err == nil
	})
	r.erases(v)
	v.Stop()
	relocation := &vault.Relocation{
		Tenant: "test", From: vault.Side{Store: backup, Place: "restored"}, To: vault.Side{Store: r.copied(&hazards{}).to.store, Place: "yonder"}, Keys: r.to.keys,
	}
	if err := relocation.Begin(ctx); err != nil {
		t.Errorf("it cannot be moved on: %v", err)
	}
}

// TestTheOldKeySignsNothingNew: a line that it signs after the move is not believed.
func TestTheOldKeySignsNothingNew(t *testing.T) {
	r := newRehousing(t)
	if err := r.moved().Retire(ctx); err != nil {
		t.Fatal(err)
	}
	o := must[ledger.Options](t)(ledger.Options{Tenant: "test", Clock: clock.System}.SignedBy(ctx, r.from.keys))
	theirs := must[[]ed25519.PublicKey](t)(r.to.keys.PublicKeys(ctx)) // which every line of theirs names: no secret
	own := o.Keys
	o.Keys = func(ctx context.Context) ([]ed25519.PublicKey, error) {
		all, err := own(ctx)
		return append(all, theirs...), err
	}
	l := must[*ledger.Book](t)(file.For(ctx, ledger.Write, filepath.Join(r.home, "ledger"), o))
	_, err := l.Append(ctx, ledger.Entry{
		Kind: ledger.Subject, Ref: "era_" + r.own.gone.Subject[4:], Subject: r.own.person.Subject, Keys: []kms.ID{kms.NewID()},
	})
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = vaulttest.Ledger(filepath.Join(r.home, "ledger"), "test", r.to.keys, r.to.store)(ctx, ledger.Look)
	if !errors.Is(err, ledger.ErrForged) {
		t.Errorf("the line is believed: %v", err)
	}
}

// TestAllVersionsThatSignedAreKnown: those that the ledger was signed with and the log never took up, too.
func TestAllVersionsThatSignedAreKnown(t *testing.T) {
	r := newRehousing(t)
	if _, err := r.from.keys.RotateSigning(ctx); err != nil {
		t.Fatal(err)
	}
	v := r.serve(r.from)
	r.erases(v)
	v.Stop()
	r.moved()
	r.live(r.to)
}

// TestWhatTheLedgerListsIsGoneAtTheOldProvider, even if store and keys were restored from before, and no row names it any more.
func TestWhatTheLedgerListsIsGoneAtTheOldProvider(t *testing.T) {
	r := newRehousing(t)
	early, keyring := copied(t, r.from.store), filepath.Join(r.home, "early")
	v := r.serve(r.from)
	who := register(t, v, r.shop, fields{"family_name": text("Оспанова")})
	v.Stop()
	copyTree(t, filepath.Join(r.home, "old"), keyring)
	unlock := must[[]byte](t)(os.ReadFile(filepath.Join(r.home, "old.key")))
	err := errors.Join(os.WriteFile(keyring+".key", unlock, 0o600), filepath.WalkDir(keyring, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(path, 0o700)) // which the copy has forgotten
	}))
	if err != nil {
		t.Fatal(err)
	}
	v = r.serve(r.from)
	e := must[*api.Erasure](t)(v.RequestErasure(ctx, r.shop, &api.ErasureRequest{Subject: who.Subject, Ground: "request", Reason: "asked"}))
	erased(t, v, r.shop, e.Erasure)
	v.Stop()
	r.from = side{"here", early, &makings{Provider: ownKeys(t, keyring), made: r.from.keys.made}}
	v = vaulttest.At(t, r.home, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys = r.from.store, r.from.place, r.from.keys
		o.Ledger = func(context.Context, ledger.Use) (ledger.Ledger, error) { return nil, ledger.ErrUnavailable }
	}))
	if err := v.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	v.Stop()
	if err := r.try(); err != nil {
		t.Fatal(err)
	}
	v = r.serve(r.to)
	for _, entry := range ledgered(t, v) {
		for _, k := range must[[]kms.Key](t)(r.from.keys.Open(ctx, entry.Keys...)) {
			if !k.Missing() {
				t.Errorf("a key of the line %d opens", entry.Number)
			}
		}
	}
}
