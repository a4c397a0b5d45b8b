package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
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
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/iin"
	"github.com/sandyq/sandyq/vault/schema"
	"github.com/sandyq/sandyq/vault/token"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// state is how a person stands when somebody asks about them.
type state string

const (
	active    state = "active"
	blocked   state = "blocked" // by the system that holds them
	waits     state = "waiting" // for the approval of an erasure
	erasing   state = "erasing" // the keys can't be destroyed yet
	erased    state = "erased"
	withdrawn state = "withdrawn" // the consent that the purpose rests on
)

// figure is a person whom one system holds, and all that leads to them.
type figure struct {
	owner                                               string // the system
	state                                               state
	subject, wide                                       string // the owner's id of the person, and the vault's
	iin, name, ref                                      string // their values, and the owner's own key for them
	token, document, consent, receipt, erasure, handoff string
	handle                                              string // an opened document's
}

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

// purpose is what everything is done for. It rests on the person's consent.
const matrixPurpose = "service"

// iinOf completes the n-th number.
func iinOf(n int) string {
	for serial := n; ; serial += 5000 {
		first := fmt.Sprintf("850312%05d", 30000+serial)
		if digit, ok := iin.CheckDigit(first); ok {
			return first + string(digit)
		}
	}
}

// batch is how many people are made at a time.
const batch = 12

// person takes somebody whom a system holds and who stands so. Who was not changed is given back.
func (w *world) person(owner string, s state) *figure {
	w.t.Helper()
	free := w.people[owner][s]
	if len(free) == 0 {
		free = w.populate(owner, s)
	}
	f := free[len(free)-1]
	w.people[owner][s] = free[:len(free)-1]
	return f
}

func (w *world) giveBack(f *figure) {
	w.people[f.owner][f.state] = append(w.people[f.owner][f.state], f)
}

// populate makes people.
func (w *world) populate(owner string, s state) []*figure {
	w.t.Helper()
	ctx, call := w.t.Context(), w.owners[owner]
	all := make([]*figure, batch)
	req := &api.TokenizeRequest{Purpose: matrixPurpose}
	for i := range all {
		n := w.number()
		all[i] = &figure{owner: owner, state: s, iin: iinOf(n), name: "Айгүл" + letters(n), ref: fmt.Sprintf("ref/%d", n)}
		req.Items = append(req.Items, api.TokenizeItem{
			ExternalRef: all[i].ref,
			Fields: map[string]api.OneOrMany[api.Value]{
				"iin": api.One(api.Text(all[i].iin)), "given_name": api.One(api.Text(all[i].name)),
			},
			Consent: &api.ConsentRequest{Text: "builtin-2026-01", Purposes: []string{matrixPurpose}, Channel: "paper", GivenAt: w.Clock.Now().Add(-time.Minute)},
		})
	}
	for i, r := range need(w.Tokenize(ctx, call, req))(w.t).Results {
		if r.Error != nil {
			w.t.Fatalf("%+v", r.Error)
		}
		all[i].subject, all[i].token = r.Subject, r.Tokens["given_name"].Items[0]
		if r.Consent == nil {
			w.t.Fatal("no consent was recorded")
		}
		all[i].consent, all[i].receipt = r.Consent.Consent, r.Consent.Receipt
	}
	w.learnWide(all)
	to := asked
	if owner == asked {
		to = third
	}
	for _, f := range all {
		f.document = w.scan(call, f.subject)
		f.handoff = need(w.CreateHandoff(ctx, call, &api.CreateHandoffRequest{
			Subject: f.subject, ToSystem: to, Purpose: matrixPurpose, Fields: []string{"given_name"},
		}))(w.t).Handoff
	}
	w.put(s, all...)
	return all
}

// letters is a number as a name may have it.
func letters(n int) string {
	name := ""
	for ; n > 0; n /= 26 {
		name += string(rune('a' + n%26))
	}
	return name
}

// scan stores a document.
func (w *world) scan(call vault.Call, subject string) string {
	w.t.Helper()
	const pdf = "%PDF-1.7 "
	return need(w.PutDocument(w.t.Context(), call, vault.Upload{
		Subject: subject, Kind: "identity_card", Side: "front", MediaType: "application/pdf", Purpose: matrixPurpose, Capture: "digital",
		Length: int64(len(pdf)), Body: strings.NewReader(pdf),
	}))(w.t).Token
}

// stranger is nobody: ids and values that are of the right shape.
func (w *world) stranger() *figure {
	w.t.Helper()
	n := w.number()
	one := func(prefix string) string { return id.Encode(prefix, id.New()) }
	return &figure{
		subject: one("sub_"), iin: iinOf(n), name: "Айгүл" + letters(n), ref: fmt.Sprintf("ref/%d", n),
		token: string(need(token.New(token.Opaque, 'p'))(w.t)), document: string(need(token.New(token.Opaque, 'p'))(w.t)),
		consent: one("cns_"), receipt: one("rcp_"), erasure: one("era_"), handoff: one("hnd_"), handle: "/v1/content/" + one("con_"),
	}
}

// learnWide has staff learn the vault's ids of people.
func (w *world) learnWide(all []*figure) {
	w.t.Helper()
	req := &api.DetokenizeRequest{Purpose: matrixPurpose, Reason: "test"}
	for _, f := range all {
		req.Tokens = append(req.Tokens, f.token)
	}
	for i, r := range need(w.Detokenize(w.t.Context(), w.hands[access.Staff], req))(w.t).Results {
		if r.Error != nil {
			w.t.Fatalf("%+v", r.Error)
		}
		all[i].wide = r.Subject
	}
}

// put has people stand so.
func (w *world) put(s state, all ...*figure) {
	w.t.Helper()
	ctx := w.t.Context()
	erase := func(f *figure) {
		w.t.Helper()
		f.erasure = need(w.RequestErasure(ctx, w.owners[f.owner], &api.ErasureRequest{Subject: f.subject, Ground: "request", Reason: "asked"}))(w.t).Erasure
	}
	if s == erasing {
		w.keys.mu.Lock()
		w.keys.all = true
		already := len(w.keys.calls)
		w.keys.mu.Unlock()
		defer w.awaitStuck(already + len(all))
	}
	for _, f := range all {
		f.state = s
		switch s {
		case blocked:
			need(w.Block(ctx, w.owners[f.owner], f.subject, &api.BlockRequest{Kind: "dispute", Reason: "asked"}))(w.t)
		case waits:
			erase(f)
		case erasing, erased:
			erase(f)
			need(w.ApproveErasure(ctx, w.hands[access.PrivacyOfficer], f.erasure, &api.ErasureApproval{}))(w.t)
		case withdrawn:
			need(w.WithdrawConsent(ctx, w.owners[f.owner], f.subject, f.consent, &api.WithdrawRequest{}))(w.t)
		}
	}
	if s == erased {
		w.awaitErased(all)
	}
}

// awaitStuck waits until the keys of n erasures can't be destroyed, and lets others be.
func (w *world) awaitStuck(n int) {
	w.t.Helper()
	eventually(w.t, "the keys to stick", func() bool {
		w.keys.mu.Lock()
		defer w.keys.mu.Unlock()
		if len(w.keys.calls) < n {
			return false
		}
		w.keys.all = false
		return true
	})
}

func (w *world) awaitErased(all []*figure) {
	w.t.Helper()
	for _, f := range all {
		eventually(w.t, "an erasure to end", func() bool {
			return need(w.Erasure(w.t.Context(), w.owners[f.owner], f.erasure))(w.t).State == api.ErasureErased
		})
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := clock.System().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if clock.System().After(until) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
