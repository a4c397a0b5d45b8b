package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/id"
	"github.com/sandyq/sandyq/vault/iin"
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

// matrixPurpose is what everything is done for. It rests on the person's consent.
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
		f.document = deposit(w.t, w.Vault, call, f.subject)
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

// deposit stores a document, and returns its token.
func deposit(t *testing.T, v *vaulttest.Vault, call vault.Call, subject string) string {
	t.Helper()
	const pdf = "%PDF-1.7 "
	return need(v.PutDocument(t.Context(), call, vault.Upload{
		Subject: subject, Kind: "identity_card", Side: "front", MediaType: "application/pdf", Purpose: matrixPurpose, Capture: "digital",
		Length: int64(len(pdf)), Body: strings.NewReader(pdf),
	}))(t).Token
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
