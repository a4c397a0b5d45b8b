// Package vaulttest gives any test a real vault in one call: a Service over Badger, file blobs and a local keyring in a
// folder of the test's own, and decides by the policies of serve --dev.
package vaulttest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/audit/anchor"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/store"
)

// Vault is a running vault and its parts.
type Vault struct {
	*vault.Service
	Home  string // holds store/, documents/, keyring/ and ledger/
	Store store.Store
	Keys  kms.Provider
	Clock *Clock

	t       testing.TB
	options vault.Options
	parts   vault.Options // options, with what open filled in
	own     engine        // the store, when it is the vault's own
}

// engine is a store that knows where it lies.
type engine interface {
	store.Store
	Place() (string, error)
}

// SlowDisk is how long a keyring of files may take on a machine that is busy with other tests, where nothing is shown by its being slow.
const SlowDisk = 30 * time.Second

// Clock is the machine's clock with an offset that a test moves.
type Clock struct{ ahead atomic.Int64 }

// Now tells the time.
func (c *Clock) Now() time.Time { return clock.System().Add(time.Duration(c.ahead.Load())) }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// Option changes how a vault is made.
type Option func(*vault.Options)

// With changes the options of the service. What it leaves unset gets a real part.
func With(f func(*vault.Options)) Option { return f }

// FourEyes has things need the word of others, as they do by default outside tests.
func FourEyes() Option {
	return func(o *vault.Options) { o.Approvals = vault.DefaultApprovals() }
}

// New starts a vault that ends with the test.
func New(t testing.TB, options ...Option) *Vault {
	t.Helper()
	return At(t, t.TempDir(), options...)
}

// At starts a vault on a home that may have been used before.
func At(t testing.TB, home string, options ...Option) *Vault {
	t.Helper()
	v := &Vault{Home: home, Clock: &Clock{}, t: t}
	v.options = vault.Options{
		Tenant: "test", Clock: v.Clock.Now, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
		SweepEvery: 50 * time.Millisecond, LogEvery: 100 * time.Millisecond, Approvals: map[string]vault.Approval{vault.ApproveErasure: {}},
	}
	v.options.Backups = &vault.Backups{Engine: "badger", Tenants: []string{v.options.Tenant}}
	v.options.Keyring.PoolSize, v.options.Keyring.Settle = 64, 100*time.Millisecond
	for _, o := range options {
		o(&v.options)
	}
	v.open()
	t.Cleanup(v.Stop)
	return v
}

func (v *Vault) open() {
	v.t.Helper()
	o := v.options
	if o.Store == nil {
		v.own = openEngine(v.t, v.Home)
		place, err := v.own.Place()
		check(v.t, err)
		o.Store = v.own
		if o.Place == "" {
			o.Place = place
		}
	}
	if o.Blobs == nil {
		o.Blobs = openDocuments(v.t, v.Home)
	}
	if o.Keys == nil {
		keys, err := Keyring(filepath.Join(v.Home, "keyring"))
		check(v.t, err)
		o.Keys = keys
		o.Keyring.Timeout = cmp.Or(o.Keyring.Timeout, SlowDisk)
	}
	if o.Ledger == nil {
		o.Ledger = Ledger(v.ledgerDir(), o.Tenant, o.Keys, o.Store)
	}
	if o.Anchor == nil {
		o.Anchor = anchor.InFolder(v.ledgerDir(), o.Tenant)
	}
	fields := o.Schema
	if fields == nil {
		fields = schema.Default()
	}
	decides := cedar.Options{Category: fields.CategoryOf, Now: o.Clock}
	if o.Decider == nil {
		o.Decider = cedar.Development(decides)
	}
	if o.Compile == nil {
		o.Compile = func(files map[string][]byte) (access.Decider, error) { return cedar.Compile(files, decides) }
	}
	v.Store, v.Keys, v.parts = o.Store, o.Keys, o
	service, err := vault.Open(context.Background(), o)
	check(v.t, err)
	v.Service = service
}

// Beside starts the vault of another tenant over the same store and documents, with a keyring and a clock of its own. It ends
// before v.
func (v *Vault) Beside(tenant string, options ...Option) *Vault {
	v.t.Helper()
	home := filepath.Join(v.Home, "tenants", tenant)
	check(v.t, os.MkdirAll(home, 0o700))
	shared := func(o *vault.Options) {
		o.Tenant, o.Store, o.Place, o.Blobs, o.Backups = tenant, v.Store, v.parts.Place, v.parts.Blobs, nil
	}
	return At(v.t, home, append([]Option{shared}, options...)...)
}

// Again starts a vault that was stopped anew, over the store and documents of another that runs, with other options.
func (v *Vault) Again(options ...Option) *Vault {
	v.t.Helper()
	was := func(o *vault.Options) { *o = v.options }
	return At(v.t, v.Home, append([]Option{was}, options...)...)
}

// Keyring opens the local keyring of a folder, making it the first time.
func Keyring(dir string) (*local.Keyring, error) {
	keyFile := dir + ".key"
	if _, err := os.Stat(keyFile); err == nil {
		return local.Open(dir, local.KeyFile(keyFile))
	}
	if err := local.NewKeyFile(keyFile); err != nil {
		return nil, err
	}
	return local.Create(dir, local.KeyFile(keyFile))
}

// SameLedger has another vault, a copy or a restored one, use this one's erasure ledger, also when this one has ended.
func (v *Vault) SameLedger() Option {
	opens := v.options.Ledger
	if opens == nil {
		opens = Ledger(v.ledgerDir(), v.parts.Tenant, v.parts.Keys)
	}
	return func(o *vault.Options) { o.Ledger, o.Anchor = opens, v.parts.Anchor }
}

func (v *Vault) ledgerDir() string { return filepath.Join(v.Home, "ledger") }

// Stop ends the vault in good order. It may be called again.
func (v *Vault) Stop() {
	if v.Service == nil {
		return
	}
	v.Close()
	v.Service = nil
	if v.options.Keys == nil {
		check(v.t, v.Keys.Close())
	}
	if v.own != nil {
		check(v.t, v.own.Close())
	}
}

// Restart stops the vault and starts it again on the same home.
func (v *Vault) Restart() {
	v.t.Helper()
	v.Stop()
	v.open()
}

// As makes a credential of a system and returns calls in its name.
func (v *Vault) As(system string, role access.Role) vault.Call {
	v.t.Helper()
	root := vault.Call{Principal: access.Principal{Tenant: v.Tenant, System: "test", Roles: []access.Role{access.Administrator}}, RequestID: "test"}
	made, err := Patiently(v, func() (*api.ServiceToken, error) {
		return v.CreateServiceToken(context.Background(), root, &api.CreateServiceTokenRequest{System: system, Role: string(role)})
	})
	check(v.t, err)
	who, err := Patiently(v, func() (access.Principal, error) {
		return v.Authenticate(context.Background(), vault.Presented{Bearer: made.Secret})
	})
	check(v.t, err)
	return vault.Call{Principal: who, RequestID: "req-" + system}
}

// Patiently makes a call of v. One of several nodes that a busy machine keeps from its beat says that it is out of touch, and whoever
// asked asks again; any other refusal is the outcome.
func Patiently[T any](v *Vault, call func() (T, error)) (T, error) {
	for until := clock.System().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		lapsed := v.Lapsing()
		already := lapsed()
		got, err := call()
		if !errors.Is(err, fault.Unavailable) || !already && !lapsed() || clock.System().After(until) {
			return got, err
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
