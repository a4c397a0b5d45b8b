package vault_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// liar is a key provider that says it has destroyed keys, and has not.
type liar struct {
	kms.Provider

	mu       sync.Mutex
	kept     map[kms.ID]bool
	honestly map[kms.ID]int // how often a kept key is still to be told missing; below 0: for ever
	hides    int            // for those to come
}

func (l *liar) Destroy(_ context.Context, _ kms.Claim, ids ...kms.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.kept[id], l.honestly[id] = true, l.hides
	}
	return nil
}

func (l *liar) Open(ctx context.Context, ids ...kms.ID) ([]kms.Key, error) {
	keys, err := l.Provider.Open(ctx, ids...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range keys {
		if id := keys[i].ID; l.kept[id] && l.honestly[id] != 0 {
			keys[i].Secret.Wipe()
			keys[i].Secret = secret.Bytes{}
			l.honestly[id]--
		}
	}
	return keys, err
}

// comesBack has every kept key be told missing so often still, and be there again after that.
func (l *liar) comesBack(after int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.kept {
		l.honestly[id] = after
	}
}

// bent is a store that gives out and takes in what a test makes of it.
type bent struct {
	store.Store
	get   func(key, value []byte) []byte
	drops func(kind byte, deletes bool) bool // what is not written
}

func (b *bent) View(ctx context.Context, f func(store.Reader) error) error {
	return b.Store.View(ctx, func(r store.Reader) error { return f(bentReader{r, b}) })
}

func (b *bent) Update(ctx context.Context, f func(store.Writer) error) error {
	return b.Store.Update(ctx, func(w store.Writer) error { return f(bentWriter{w, b}) })
}

type bentReader struct {
	store.Reader
	bent *bent
}

func (r bentReader) Get(keys ...[]byte) ([][]byte, error) {
	values, err := r.Reader.Get(keys...)
	if r.bent.get != nil {
		values = slices.Clone(values)
		for i := range values {
			values[i] = r.bent.get(keys[i], values[i])
		}
	}
	return values, err
}

type bentWriter struct {
	store.Writer
	bent *bent
}

func (w bentWriter) Set(key, value []byte) error {
	if w.bent.drops != nil && w.bent.drops(kindOf(key), false) {
		return nil
	}
	return w.Writer.Set(key, value)
}

func (w bentWriter) Delete(key []byte) error {
	if w.bent.drops != nil && w.bent.drops(kindOf(key), true) {
		return nil
	}
	return w.Writer.Delete(key)
}

// deaf is an erasure ledger that lacks what it was told.
type deaf struct {
	ledger.Ledger
	findsNothing, scansNothing bool
}

func (d deaf) Find(ctx context.Context, ref string) (uint64, bool, error) {
	if d.findsNothing {
		return 0, false, nil
	}
	return d.Ledger.Find(ctx, ref)
}

func (d deaf) Scan(ctx context.Context, after uint64, f func(ledger.Entry) error) error {
	if d.scansNothing {
		return nil
	}
	return d.Ledger.Scan(ctx, after, f)
}

// restoringInto has drills restore into what f makes of an honest scratch.
func restoringInto(f func(store.Store) store.Store) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) {
		o.Drills.Scratch = func(dir string) (store.Store, blob.Store, func() error, error) {
			rows, blobs, done, err := vaulttest.Scratch(dir)
			if err == nil {
				rows = f(rows)
			}
			return rows, blobs, done, err
		}
	})
}

func lying(t *testing.T, hides int, onRestore func(*liar)) []vaulttest.Option {
	home := t.TempDir()
	l := &liar{kept: map[kms.ID]bool{}, honestly: map[kms.ID]int{}, hides: hides}
	l.Provider = must[kms.Provider](t)(vaulttest.Keyring(home + "/keyring"))
	t.Cleanup(func() { _ = l.Provider.Close() })
	return []vaulttest.Option{
		vaulttest.With(func(o *vault.Options) { o.Keys = l }),
		restoringInto(func(s store.Store) store.Store {
			if onRestore != nil {
				onRestore(l)
			}
			return s
		}),
	}
}

func deafly(d deaf) vaulttest.Option {
	return vaulttest.With(func(o *vault.Options) {
		home := o.Drills.Dir + ".ledger"
		o.Ledger = func(ctx context.Context, use ledger.Use) (ledger.Ledger, error) {
			honest, err := vaulttest.Ledger(home, o.Tenant, o.Keys)(ctx, use)
			if err != nil || use != ledger.Look {
				return honest, err
			}
			return deaf{honest, d.findsNothing, d.scansNothing}, nil
		}
	})
}

// TestASabotagedVaultFailsItsDrill: whatever is wrong with what a drill looks at, it says so.
func TestASabotagedVaultFailsItsDrill(t *testing.T) {
	const forEver = -1
	withKeyring := func(t *testing.T) vaulttest.Option {
		keys := must[kms.Provider](t)(vaulttest.Keyring(t.TempDir() + "/keyring"))
		t.Cleanup(func() { _ = keys.Close() })
		return vaulttest.With(func(o *vault.Options) { o.Keys = keys })
	}
	for _, sabotage := range []struct {
		name    string
		options func(t *testing.T) []vaulttest.Option
		want    []string
	}{
		{"keys come back before the copy is opened", func(t *testing.T) []vaulttest.Option {
			return lying(t, forEver, func(l *liar) { l.comesBack(0) })
		}, []string{"copy_withheld"}},
		{"keys come back behind the copy's back", func(t *testing.T) []vaulttest.Option {
			return lying(t, forEver, func(l *liar) { l.comesBack(1) })
		}, []string{"erased_readable"}},
		{"the index of the replayed copy keeps whoever is erased", func(*testing.T) []vaulttest.Option {
			return []vaulttest.Option{restoringInto(func(s store.Store) store.Store {
				return &bent{Store: s, drops: func(kind byte, deletes bool) bool { return deletes && kind == 'u' }}
			})}
		}, []string{"erased_findable"}},
		{"the replay writes nothing", func(t *testing.T) []vaulttest.Option {
			return []vaulttest.Option{withKeyring(t), deafly(deaf{scansNothing: true})}
		}, []string{"erased_findable"}},
		{"the ledger lacks the erasure", func(t *testing.T) []vaulttest.Option {
			return []vaulttest.Option{withKeyring(t), deafly(deaf{findsNothing: true})}
		}, []string{"not_in_ledger"}},
		{"nobody is in what was restored", func(*testing.T) []vaulttest.Option {
			return []vaulttest.Option{restoringInto(func(s store.Store) store.Store {
				return &bent{Store: s, drops: func(kind byte, _ bool) bool { return kind != 'm' }}
			})}
		}, []string{"control_unreadable"}},
		{"nothing is in what was restored", func(*testing.T) []vaulttest.Option {
			return []vaulttest.Option{restoringInto(func(s store.Store) store.Store {
				return &bent{Store: s, drops: func(byte, bool) bool { return true }}
			})}
		}, []string{"error"}},
		{"documents are not in what was restored", func(*testing.T) []vaulttest.Option {
			return []vaulttest.Option{restoringInto(func(s store.Store) store.Store {
				return &bent{Store: s, drops: func(kind byte, _ bool) bool { return kind == 'd' }}
			})}
		}, []string{"control_unreadable"}},
		{"the certificate was touched", func(t *testing.T) []vaulttest.Option {
			return certifying(t, func(document []byte) []byte {
				at := bytes.Index(document, []byte(`tenant`))
				return slices.Concat(document[:at], []byte("TENANT"), document[at+6:])
			})
		}, []string{"certificate_unproven"}},
	} {
		t.Run(sabotage.name, func(t *testing.T) {
			t.Parallel()
			heard := &kindsHeard{}
			options := append([]vaulttest.Option{drilled(t)}, sabotage.options(t)...)
			v := vaulttest.New(t, append(options, vaulttest.With(func(o *vault.Options) { o.Observer = heard }), quietly())...)
			d := drill(t, v)
			if d.State != api.DrillFailed || !slices.Contains(sabotage.want, d.Failure) {
				t.Errorf("%+v", d)
			}
			eventually(t, "it alerts", func() bool { return heard.count("drill") == 1 }) // after the drill is written down
			if n := living(t, v); n != 0 {
				t.Errorf("the drill left %d people", n)
			}
		})
	}
}

// certifying is a vault in whose store certificates are bent.
func certifying(t *testing.T, bend func([]byte) []byte) []vaulttest.Option {
	rows := must[*badgerdb.Store](t)(badgerdb.Open(badgerdb.Options{Dir: t.TempDir()}))
	t.Cleanup(func() { _ = rows.Close() })
	certificates := func(key, value []byte) []byte {
		if kindOf(key) == 'F' && value != nil {
			return bend(value)
		}
		return value
	}
	return []vaulttest.Option{vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place = &bent{Store: rows, get: certificates}, "here"
	})}
}

// living counts the people in a store who are not erased.
func living(t testing.TB, v *vaulttest.Vault) (n int) {
	t.Helper()
	const erased = 3
	for _, row := range must[[]store.Pair](t)(rows(v.Store)) {
		if kindOf(row.Key) == 's' && row.Value[0] != erased {
			n++
		}
	}
	return n
}

// errScratch ends a drill where it would restore.
var errScratch = errors.New("no scratch")
