package main

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// quarters are the two configurations of a vault of several tenants whose keys move.
type quarters struct {
	t        *testing.T
	from, to config
	said     bytes.Buffer
	people   map[string][]string // of each tenant, a token of each
}

func newQuarters(t *testing.T) *quarters {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	of := func(folder string) config {
		tenant := func(name string) tenantConfig {
			c := defaultTenant()
			c.Keys.Local.Dir = filepath.Join(home, folder, "keys of "+name)
			c.Approvals.Erasure.Needed = 0
			return c
		}
		c := defaultConfig()
		c.Home, c.Store.Badger.Dir, c.Blobs.File.Dir = home, filepath.Join(home, folder, "store"), filepath.Join(home, "documents")
		c.tenantConfig = tenant("main")
		c.Tenants = []furtherTenant{{Name: "partner", tenantConfig: tenant("partner")}}
		return c
	}
	q := &quarters{t: t, from: of("old"), to: of("new"), people: map[string][]string{}}
	q.must(setUp(q.from))
	return q
}

func (q *quarters) must(err error) {
	q.t.Helper()
	if err != nil {
		q.t.Fatal(err)
	}
}

func (q *quarters) moving(retires bool) *moving {
	q.t.Helper()
	q.said.Reset()
	m, err := newMoving(&env{in: strings.NewReader(""), out: &q.said, err: q.t.Output(), json: true}, q.from, q.to)
	q.must(err)
	m.retires = retires
	return m
}

// open opens one side for a while.
func (q *quarters) open(c config, f func(*tenant, vault.Call)) {
	q.t.Helper()
	n, err := openNode(q.t.Context(), c, (&env{err: q.t.Output()}).log(c), newMetrics())
	q.must(err)
	defer func() { q.must(n.Close()) }()
	for _, of := range n.Tenants {
		f(of, vault.Call{Principal: access.Principal{Tenant: of.Name, System: "shop", Roles: []access.Role{access.Application}}})
	}
}

// register has somebody registered, and returns who it is.
func (q *quarters) register(of *tenant, shop vault.Call, name string) string {
	q.t.Helper()
	made, err := of.Service.Tokenize(q.t.Context(), shop, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{{
		Fields: map[string]api.OneOrMany[api.Value]{"family_name": api.One(api.Text(name))},
	}}})
	q.must(err)
	q.people[of.Name] = append(q.people[of.Name], made.Results[0].Tokens["family_name"].Items[0])
	return made.Results[0].Subject
}

func (q *quarters) erase(of *tenant, shop vault.Call, who string) string {
	q.t.Helper()
	e, err := of.Service.RequestErasure(q.t.Context(), shop, &api.ErasureRequest{Subject: who, Ground: "request", Reason: "asked"})
	q.must(err)
	return e.Erasure
}

// reads sees that all who were registered are read, but for the last one, who was erased.
func (q *quarters) reads(of *tenant, shop vault.Call) {
	q.t.Helper()
	tokens := q.people[of.Name]
	q.eventually("the vault gives data out", func() bool {
		got, err := of.Service.Detokenize(q.t.Context(), shop, &api.DetokenizeRequest{Purpose: "service", Reason: "test", Tokens: tokens})
		if err != nil {
			return false
		}
		for i, r := range got.Results {
			switch gone := i == len(tokens)-1; {
			case gone && (r.Error == nil || r.Error.Code != fault.Erased):
				q.t.Errorf("%s: who was erased: %+v", of.Name, r)
			case !gone && (r.Error != nil || r.Value == nil):
				q.t.Errorf("%s: somebody is not read: %+v", of.Name, r.Error)
			}
		}
		return true
	})
}

func (q *quarters) eventually(what string, so func() bool) {
	q.t.Helper()
	for began := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			q.t.Fatalf("%s: not in a minute", what)
		}
	}
}

// keyFiles counts the keys of people, and the like, in a keyring.
func (q *quarters) keyFiles(c config) (n int) {
	q.t.Helper()
	q.must(filepath.WalkDir(filepath.Join(c.keysDir(), "keys"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	}))
	return n
}

// TestMovingTheKeysOfSeveralTenants falls after one of them was handed over. That one goes on where it is by then, with what is registered and
// erased there, and the other at the source; the next try moves the other, and ends what both have left to end.
func TestMovingTheKeysOfSeveralTenants(t *testing.T) {
	q := newQuarters(t)
	erasures := map[string]string{}
	q.open(q.from, func(of *tenant, shop vault.Call) {
		for _, name := range []string{"Ахметова", "Сулейменов", "Ким"} {
			q.register(of, shop, name+" "+of.Name)
		}
	})
	m := q.moving(false)
	ctx := t.Context()
	q.must(m.open(ctx))
	q.must(m.still(ctx))
	q.must(m.copyAll(ctx))
	q.must(m.left[0].HandOver(ctx))
	q.must(m.Close())

	if _, err := openNode(ctx, q.to, (&env{err: t.Output()}).log(q.to), newMetrics()); !errors.Is(err, vault.ErrForeignKeys) {
		t.Errorf("the target is opened with the keys of one that has not moved yet: %v", err)
	}
	alone := q.to
	alone.Tenants = nil
	for _, side := range []config{q.from, alone} {
		q.open(side, func(of *tenant, shop vault.Call) {
			if of.Name == "main" && side.Store == q.from.Store {
				if !errors.Is(of.standing(ctx), errSuperseded) {
					t.Errorf("at the source %s is: %v", of.Name, of.standing(ctx))
				}
				return
			}
			erasures[of.Name] = q.erase(of, shop, q.register(of, shop, "Оспанова"))
			q.reads(of, shop)
		})
	}

	m = q.moving(true)
	q.must(m.offline(ctx))
	source, target := m.rows.Tallies()
	if len(m.left) != 1 || m.left[0].tenant != "partner" || target.All().Count == 0 || !maps.Equal(source, target) {
		t.Errorf("it moved %d tenants: %s", len(m.left), q.said.String())
	}
	if !strings.Contains(q.said.String(), `"retired":true`) {
		t.Errorf("it says %s", q.said.String())
	}
	for _, of := range q.from.tenants() {
		if n := q.keyFiles(of); n != 0 {
			t.Errorf("%d old keys of %s are left", n, of.Tenant)
		}
	}
	q.open(q.to, func(of *tenant, shop vault.Call) {
		q.reads(of, shop)
		q.eventually("the erasure ends", func() bool {
			e, err := of.Service.Erasure(ctx, shop, erasures[of.Name])
			return err == nil && e.State == api.ErasureErased
		})
	})
	q.open(q.from, func(of *tenant, _ vault.Call) {
		if !errors.Is(of.standing(ctx), errSuperseded) {
			t.Errorf("at the source %s is: %v", of.Name, of.standing(ctx))
		}
	})
}

// TestATryThatIsOvertakenEnds, and does not copy again and again beside the one that goes on.
func TestATryThatIsOvertakenEnds(t *testing.T) {
	q := newQuarters(t)
	q.open(q.from, func(of *tenant, shop vault.Call) { q.register(of, shop, "Ахметова") })
	m := q.moving(false)
	ctx := t.Context()
	q.must(m.open(ctx))
	q.must(m.copyAll(ctx)) // so that nothing is left to be written, and to be refused
	defer func() { q.must(m.Close()) }()
	was := m.rekeyed[0]
	later := &vault.Rekeying{
		Tenant: was.Tenant, From: was.From, To: was.To, Old: was.Old, New: was.New, Origin: was.Origin, Clock: was.Clock, Ledger: was.Ledger,
	}
	q.must(later.Begin(ctx))
	m.watch()
	if err := m.keepCopying(ctx); !errors.Is(err, vault.ErrOvertaken) {
		t.Errorf("it went on: %v", err)
	}
}
