package vault_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/budget"
	"github.com/sandyq/sandyq/crypto/kms/local"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/client"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/store/badgerdb"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// cluster is several nodes on one store, with one set of keys.
type cluster struct {
	t      testing.TB
	home   string
	store  *badgerdb.Store
	place  string
	keys   *local.Keyring
	clock  vaulttest.Clock
	option []vaulttest.Option
}

func newCluster(t testing.TB, options ...vaulttest.Option) *cluster {
	t.Helper()
	c := &cluster{t: t, home: inMemory(t), option: options}
	var err error
	if c.store, err = badgerdb.Open(badgerdb.Options{Dir: filepath.Join(c.home, "store")}); err != nil {
		t.Fatal(err)
	}
	c.place = must[string](t)(c.store.Place())
	if c.keys, err = vaulttest.Keyring(filepath.Join(c.home, "keyring")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.keys.Close(), c.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// node starts a node. It ends with the test and not before: one that is not used any more is one that was killed.
func (c *cluster) node() *vaulttest.Vault {
	c.t.Helper()
	return vaulttest.At(c.t, c.home, append(c.option, vaulttest.With(func(o *vault.Options) {
		o.Store, o.Place, o.Keys, o.Clock = c.store, c.place, c.keys, c.clock.Now
		o.Keyring.PoolSize = 1000
		o.SweepEvery = time.Hour // each start takes the title over; the nodes must not contest it
	}))...)
}

// stolen is a thief with an application's token and all that the application has.
type stolen struct {
	t      *testing.T
	tokens []string
	tried  atomic.Int64 // how many of the tokens have been

	disclosed, limited atomic.Int64
}

// dump presents tokens in batches of this size until there are no more, whatever it is told.
func (s *stolen) dump(batch int, detokenize func(*api.DetokenizeRequest) (*api.DetokenizeResponse, error)) {
	for {
		end := int(s.tried.Add(int64(batch)))
		from := end - batch
		if from >= len(s.tokens) {
			return
		}
		resp, err := detokenize(&api.DetokenizeRequest{
			Purpose: "service", Reason: "support_call", Tokens: s.tokens[from:min(end, len(s.tokens))],
		})
		if err != nil {
			f := fault.From(err)
			if f.Code != fault.Limited || f.RetryAfter <= 0 || resp != nil {
				s.t.Errorf("%v, retry after %s", err, f.RetryAfter)
				return
			}
			s.limited.Add(1)
			continue
		}
		for _, r := range resp.Results {
			if r.Value == nil {
				s.t.Errorf("%+v", r.Error)
			}
			s.disclosed.Add(1)
		}
	}
}

// A thief dumps all tokens of an application, over two nodes at once and again after both were killed. The budget stops
// it, the receivers of alerts are told once, and so is what the canary among the people saw.
func TestStolenTokenIsStoppedAtItsBudget(t *testing.T) {
	n := scaled(2000) // 100,000 with SANDYQ_TEST_SCALE=50
	limit := int64(n / 5)
	told, b := newHook(t), &bell{}
	c := newCluster(t, telling(t, b, told), budgeted(b, budget.Enforce,
		budget.Limit{Name: "reads", Roles: []access.Role{access.Application}, Kind: budget.Read, Hour: limit, Day: limit}))
	if left := time.Hour - c.clock.Now().Sub(c.clock.Now().Truncate(time.Hour)); left < 15*time.Minute {
		c.clock.Advance(left) // the hour must not end meanwhile
	}
	first := c.node()
	root := vault.Call{Principal: access.Principal{Tenant: "test", System: "root", Roles: []access.Role{access.Administrator}, AllSystems: true}, RequestID: "req-root"}
	made := must[*api.ServiceToken](t)(first.CreateServiceToken(ctx, root, &api.CreateServiceTokenRequest{System: "shop", Role: string(access.Application)}))
	shop := must[access.Principal](t)(first.Authenticate(ctx, vault.Presented{Bearer: made.Secret}))
	s := &stolen{t: t, tokens: loot(t, first, vault.Call{Principal: shop}, n)}
	second := c.node() // it takes over what the first had in stock, so the people come first
	canary := must[*api.Canary](t)(second.MarkCanary(ctx, root, &api.MarkCanaryRequest{Token: s.tokens[len(s.tokens)/2]}))

	server := httptest.NewServer(httpapi.Handler(httpapi.Config{Services: []httpapi.Service{first.Service}, Log: first.Log}))
	defer server.Close()
	over := must[*client.Client](t)(client.New(server.URL, made.Secret, client.WithAttempts(1)))
	defer over.Close()
	byHTTP := func(r *api.DetokenizeRequest) (*api.DetokenizeResponse, error) { return over.Detokenize(ctx, r) }
	at := func(v *vaulttest.Vault) func(*api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
		return func(r *api.DetokenizeRequest) (*api.DetokenizeResponse, error) {
			return v.Detokenize(ctx, vault.Call{Principal: shop, RequestID: "req-shop"}, r)
		}
	}
	var thieves sync.WaitGroup
	for _, batch := range []int{1, 7, 100, 250} {
		thieves.Go(func() { s.dump(batch, byHTTP) })
		thieves.Go(func() { s.dump(batch, at(second)) })
	}
	thieves.Wait()
	before := s.disclosed.Load()
	t.Logf("%d tokens: %d disclosed of a budget of %d, %d calls refused", len(s.tokens), before, limit, s.limited.Load())
	if before > limit || before < limit/2 {
		t.Errorf("disclosed %d of a budget of %d", before, limit)
	}

	third := c.node() // the others are killed: they never get to close
	s.tried.Store(0)
	s.dump(100, at(third))
	s.tried.Store(0)
	s.dump(1, at(third))
	t.Logf("after a crash: %d more", s.disclosed.Load()-before)
	if s.disclosed.Load() > limit {
		t.Errorf("after a crash: disclosed %d of a budget of %d", s.disclosed.Load(), limit)
	}

	budgets := told.await("budget", 2)
	var accounts []string
	for _, a := range budgets {
		if a.System != "shop" || a.Operation != string(access.Detokenize) {
			t.Errorf("%+v", a)
		}
		accounts = append(accounts, a.Object)
	}
	slices.Sort(accounts)
	if fmt.Sprint(accounts) != "[reads/day reads/hour]" || b.of("budget") != 2 {
		t.Errorf("alerts of %v, %d counted", accounts, b.of("budget"))
	}
	for _, a := range told.await("canary", 1) {
		if a.System != "shop" || a.Object != canary.ID {
			t.Errorf("%+v", a)
		}
	}
	t.Logf("receivers were told of the budgets %v and %d times of the canary, all signed", accounts, len(told.alerts("canary")))
}

// loot registers people until a system has so many tokens.
func loot(t testing.TB, v *vaulttest.Vault, shop vault.Call, tokens int) (all []string) {
	t.Helper()
	const each, atOnce = 10, 200
	for n := 0; len(all) < tokens; {
		req := &api.TokenizeRequest{Purpose: "registration"}
		for range min(atOnce, (tokens-len(all)+each-1)/each) {
			var phones []string
			for range each - 2 {
				phones = append(phones, fmt.Sprintf("+7701%07d", n))
				n++
			}
			req.Items = append(req.Items, api.TokenizeItem{Fields: fields{
				"family_name": text("Сәрсенова"), "given_name": text("Айгүл"), "phone": texts(phones...),
			}})
		}
		for _, r := range must[*api.TokenizeResponse](t)(v.Tokenize(ctx, shop, req)).Results {
			wantItem(t, r.Error, "")
			for _, field := range []string{"family_name", "given_name", "phone"} {
				all = append(all, r.Tokens[field].Items...)
			}
		}
	}
	return all[:tokens]
}
