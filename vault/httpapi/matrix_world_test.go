package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/httpapi"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// caller is one kind of caller, with a credential.
type caller struct {
	vault.Call
	column string // of the page
	bound  bool   // staff whose credential names the systems whose people they see
	secret string
}

func (c caller) String() string {
	if c.bound {
		return c.column + ", bound"
	}
	return c.column
}

// world is a vault with callers and people in it.
type world struct {
	*vaulttest.Vault
	t       *testing.T
	url     string
	keys    *sticky
	callers []caller
	nobody  map[string]string              // what is wrong with it → what is shown
	owners  map[string]vault.Call          // systems that hold people
	hands   map[access.Role]vault.Call     // who does in the tests' name what needs a role
	people  map[string]map[state][]*figure // by owner, to be asked about
	count   int                            // numbers what must differ
}

// The systems that hold people. Asked is the one that calls.
const (
	asked   = "shop"
	another = "bank"
	third   = "club" // gets handoffs that nobody redeems
)

// sticky is a provider that can't destroy some keys.
type sticky struct {
	kms.Provider
	mu    sync.Mutex
	all   bool // what is to be destroyed from now on sticks
	stuck map[kms.ID]bool
	calls map[kms.ID]bool // the first key of each call that stuck
}

func (s *sticky) Destroy(ctx context.Context, claim kms.Claim, ids ...kms.ID) error {
	s.mu.Lock()
	if s.all {
		for _, id := range ids {
			s.stuck[id] = true
		}
	}
	for _, id := range ids {
		if s.stuck[id] {
			s.calls[slices.MinFunc(ids, func(a, b kms.ID) int { return slices.Compare(a[:], b[:]) })] = true
			s.mu.Unlock()
			return kms.ErrUnavailable
		}
	}
	s.mu.Unlock()
	return s.Provider.Destroy(ctx, claim, ids...)
}

// newWorld makes a world that is decided on by the built-in policies, or those of serve --dev.
func newWorld(t *testing.T, development bool) *world {
	t.Helper()
	home := t.TempDir()
	keys, err := vaulttest.Keyring(home + "/keyring")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, keys: &sticky{Provider: keys, stuck: map[kms.ID]bool{}, calls: map[kms.ID]bool{}},
		owners: map[string]vault.Call{}, hands: map[access.Role]vault.Call{}, people: map[string]map[state][]*figure{asked: {}, another: {}},
	}
	t.Cleanup(func() { _ = keys.Close() })
	decider := cedar.Default
	if development {
		decider = cedar.Development
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil)) // the keys that stick
	w.Vault = vaulttest.At(t, home, vaulttest.FourEyes(), vaulttest.With(func(o *vault.Options) {
		o.Keys, o.Log = w.keys, quiet
		o.Decider = decider(cedar.Options{Category: schema.Default().CategoryOf, Now: clock.System})
		o.Approvals[vault.ApprovePurpose], o.Approvals[vault.ApproveConfig] = vault.Approval{}, vault.Approval{Needed: 1}
		reviewers := []access.Role{access.PrivacyOfficer, access.SecurityOfficer, access.Administrator} // of whom the policies let all
		o.Approvals[vault.ReviewBreakGlass] = vault.Approval{Needed: 1, Roles: reviewers}
		o.SweepEvery = time.Second
		o.Drills = &vault.Drills{Dir: home + "/drill", Scratch: vaulttest.Scratch}
	}))
	w.url = serveHandler(t, httpapi.Handler(httpapi.Config{Services: []httpapi.Service{w.Service}, Log: quiet}))
	for _, system := range []string{asked, another, third} {
		w.owners[system] = w.As(system, access.Application)
	}
	for _, role := range access.Roles() {
		w.hands[role] = w.As("hand-"+string(role), role)
	}
	w.configure()
	for _, role := range access.Roles() {
		if role == access.Application {
			w.admit(caller{column: string(role)}, asked, role, nil)
			continue
		}
		w.admit(caller{column: string(role)}, "desk-"+string(role), role, nil)
		w.admit(caller{column: string(role), bound: true}, "bound-"+string(role), role, []string{asked})
	}
	w.nobodies()
	return w
}

// root may make service tokens.
func (w *world) root() vault.Call {
	return vault.Call{Principal: access.Principal{Tenant: w.Tenant, System: "test", Roles: []access.Role{access.Administrator}}, RequestID: "test"}
}

// admit gives a caller a credential.
func (w *world) admit(c caller, system string, role access.Role, systems []string) {
	w.t.Helper()
	made := need(w.CreateServiceToken(w.t.Context(), w.root(), &api.CreateServiceTokenRequest{System: system, Role: string(role), Systems: systems}))(w.t)
	who := need(w.Authenticate(w.t.Context(), vault.Presented{Bearer: made.Secret}))(w.t)
	c.secret, c.Call = made.Secret, vault.Call{Principal: who, RequestID: "test"}
	w.callers = append(w.callers, c)
}

// nobodies are the ways to be nobody.
func (w *world) nobodies() {
	w.t.Helper()
	made := func(expires time.Time) *api.ServiceToken {
		return need(w.CreateServiceToken(w.t.Context(), w.root(), &api.CreateServiceTokenRequest{
			System: "desk", Role: string(access.Staff), ExpiresAt: expires,
		}))(w.t)
	}
	revoked, expired := made(time.Time{}), made(w.Clock.Now().Add(time.Minute))
	need(w.RevokeServiceToken(w.t.Context(), w.root(), revoked.ID))(w.t)
	w.Clock.Advance(time.Minute)
	w.nobody = map[string]string{
		"nothing": "", "what is none": "Bearer sst_00000000", "one revoked": "Bearer " + revoked.Secret, "one expired": "Bearer " + expired.Secret,
	}
}

// need fails the test unless what two results of a call are without an error.
func need[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// configure makes a purpose that discloses, and somebody to disclose to.
func (w *world) configure() {
	w.t.Helper()
	title := api.Title{KK: "Жеткізу", RU: "Доставка", EN: "Delivery"}
	need(w.PutPurpose(w.t.Context(), w.hands[access.PrivacyOfficer], "delivery", &api.Purpose{
		Title: title, Basis: "law", Citation: "Civil Code", Fields: []string{"given_name"}, Discloses: true, Retention: api.Retention{After: "relationship_end"},
	}))(w.t)
	change := need(w.PutRecipient(w.t.Context(), w.hands[access.Administrator], "courier", &api.Recipient{
		Title: title, Country: "KZ", Purposes: []string{"delivery"},
	}))(w.t)
	need(w.ApproveChange(w.t.Context(), w.hands[access.PrivacyOfficer], change.Change, &api.ApproveChangeRequest{}))(w.t)
	change = need(w.PutSystem(w.t.Context(), w.hands[access.Administrator], "registered", &api.System{Purposes: []string{"delivery"}}))(w.t)
	need(w.ApproveChange(w.t.Context(), w.hands[access.PrivacyOfficer], change.Change, &api.ApproveChangeRequest{}))(w.t)
}

// number is another one each time.
func (w *world) number() int {
	w.count++
	return w.count
}
